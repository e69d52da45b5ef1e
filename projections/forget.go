package projections

import "github.com/oklog/ulid/v2"

// Forget drops from memory what was read of an account and of credentials whose
// keys were destroyed. The file's rows need no care: nobody can unseal them.
func (m *ReadModel) Forget(account ulid.ULID, credentials ...ulid.ULID) {
	m.accounts.drop(account)
	for _, id := range credentials {
		m.credentials.drop(id)
	}
}
