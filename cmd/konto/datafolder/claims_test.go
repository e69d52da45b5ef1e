package datafolder

import (
	"strings"
	"testing"
)

func TestRenewalOfClaimsTellsEachTenth(t *testing.T) {
	var told []string
	tell := eachTenth(func(text string) { told = append(told, text) })
	for done := uint64(1); done <= 25; done++ {
		tell(done, 25)
	}
	if len(told) != 9 || !strings.Contains(told[0], "3 of 25") || !strings.Contains(told[8], "23 of 25") {
		t.Errorf("%q", told)
	}
}
