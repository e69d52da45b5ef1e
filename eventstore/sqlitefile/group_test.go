package sqlitefile

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
)

func TestItemsThatWaitShareTheNextCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits := make(chan int)
		g := NewGroup(func(items []string) error { commits <- len(items); return nil })
		results := make(chan error)
		add := func(name string) { results <- g.Add(name) }

		go add("first")
		synctest.Wait() // it is being committed
		for i := range 100 {
			go add(strconv.Itoa(i))
		}
		synctest.Wait() // they wait

		for _, want := range []int{1, 100} {
			if items := <-commits; items != want {
				t.Errorf("a commit of %d items, want %d", items, want)
			}
		}
		for range 101 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAllCallersGetTheErrorOfASharedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("disk full")
		proceed := make(chan error)
		g := NewGroup(func([]string) error { return <-proceed })
		first, rest := make(chan error), make(chan error)

		go func() { first <- g.Add("") }()
		synctest.Wait()
		for range 10 {
			go func() { rest <- g.Add("") }()
		}
		synctest.Wait()

		proceed <- nil
		if err := <-first; err != nil {
			t.Errorf("item of the commit that succeeded: %v", err)
		}
		proceed <- failure
		for range 10 {
			if err := <-rest; err != failure {
				t.Errorf("item of the commit that failed: %v", err)
			}
		}
	})
}
