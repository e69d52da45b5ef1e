package webhook

import (
	"net/http"
	"testing"

	"konto/events"
)

// BenchmarkSign signs one request of many to one third party.
func BenchmarkSign(b *testing.B) {
	body := make([]byte, 400)
	p := party(events.FormatCloudEvents, "https://example.com")
	p.KeepSigningKeys()
	b.ReportAllocs()
	for b.Loop() {
		sign(http.Header{}, &p, testID, opened, body)
	}
}

// BenchmarkRequest composes and signs one request.
func BenchmarkRequest(b *testing.B) {
	for _, format := range formats {
		b.Run(format, func(b *testing.B) {
			h := newHarness(b)
			e, s := h.changed(), h.sender()
			p := party(format, "https://example.com")
			p.KeepSigningKeys()
			b.ReportAllocs()
			for b.Loop() {
				m, err := s.compose(b.Context(), &p, &e)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.request(b.Context(), &p, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
