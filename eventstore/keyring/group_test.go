package keyring

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
)

func TestRowsThatWaitShareTheNextCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits := make(chan int)
		g := newGroup(func(rows []row) error { commits <- len(rows); return nil })
		results := make(chan error)
		add := func(name string) { results <- g.add(row{name: name}) }

		go add("first")
		synctest.Wait() // it is being committed
		for i := range 100 {
			go add(strconv.Itoa(i))
		}
		synctest.Wait() // they wait

		for _, want := range []int{1, 100} {
			if rows := <-commits; rows != want {
				t.Errorf("a commit of %d rows, want %d", rows, want)
			}
		}
		for range 101 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFailedCommitIsToldToAllWhoShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("disk full")
		proceed := make(chan error)
		g := newGroup(func([]row) error { return <-proceed })
		first, rest := make(chan error), make(chan error)

		go func() { first <- g.add(row{}) }()
		synctest.Wait()
		for range 10 {
			go func() { rest <- g.add(row{}) }()
		}
		synctest.Wait()

		proceed <- nil
		if err := <-first; err != nil {
			t.Errorf("row of the commit that succeeded: %v", err)
		}
		proceed <- failure
		for range 10 {
			if err := <-rest; err != failure {
				t.Errorf("row of the commit that failed: %v", err)
			}
		}
	})
}
