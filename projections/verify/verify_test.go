package verify

import (
	"testing"
)

func run(t *testing.T, h *fixture) Report {
	t.Helper()
	report, err := Run(t.Context(), h.config())
	must(t, err)
	if report.OK != (report.Found == 0) {
		t.Errorf("ok: %v with %d problems", report.OK, report.Found)
	}
	return report
}

func clean(t *testing.T, h *fixture) Report {
	t.Helper()
	report := run(t, h)
	if !report.OK {
		t.Fatalf("%+v", report)
	}
	return report
}

func TestNoProblemIsReportedOfASoundFolder(t *testing.T) {
	h := begin(t)
	if report := clean(t, h); report.Position != 0 {
		t.Errorf("an empty log: %+v", report)
	}
	h.populate(t, 12)
	report := clean(t, h)
	head, err := h.store.Head(t.Context())
	must(t, err)
	if report.Position != head || report.Accounts != 14 || report.Behind != 0 {
		t.Errorf("%+v, with the head at %d", report, head)
	}
}
