package server

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuestionThatHangsIsAnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q question
		hangs, asked := make(chan struct{}), 0
		do := func() error { asked++; <-hangs; return nil }
		for range 3 {
			begun := time.Now()
			if err := q.ask(t.Context(), patience, do); !errors.Is(err, errNoAnswer) || time.Since(begun) != patience {
				t.Errorf("%v after %s", err, time.Since(begun))
			}
		}
		close(hangs)
		synctest.Wait()
		if err := q.ask(t.Context(), patience, do); err != nil || asked != 1 {
			t.Errorf("%v, asked %d times", err, asked)
		}
	})
}

func TestGoodAnswerLastsASecondAndABadOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q question
		full := errors.New("the disk is full")
		asked, answer := 0, full
		ask := func() error {
			return q.ask(t.Context(), patience, func() error { asked++; return answer })
		}
		for range 2 {
			if err := ask(); !errors.Is(err, full) {
				t.Error(err)
			}
		}
		answer = nil
		for range 5 {
			if err := ask(); err != nil {
				t.Error(err)
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times, want twice in vain and once in the second", asked)
		}
		time.Sleep(answerLasts)
		answer = full
		if err := ask(); !errors.Is(err, full) {
			t.Errorf("after a second: %v", err)
		}
	})
}
