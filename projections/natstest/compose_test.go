package natstest

import "testing"

// The configuration that is shipped is the one that the tests of several packages start.
func TestComposeFileHasTheTestedConfiguration(t *testing.T) {
	if composed := Composed(t, "nats-cluster"); composed != Config {
		t.Errorf("docker-compose.yml has\n%s\nand testdata/cluster.conf\n%s", composed, Config)
	}
}
