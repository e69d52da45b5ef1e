package main

import (
	"konto/cmd/konto/admin"
	"konto/cmd/konto/datafolder"
)

// listLimit is the flag that limits a list.
type listLimit struct {
	Limit uint `name:"limit" placeholder:"N" help:"How many at most; all unless given."`
}

// idPages has the flags of a list in order of id.
type idPages struct {
	listLimit
	After string `name:"after" placeholder:"ID" help:"Only those after this id, such as the last of the list before."`
}

// printPages prints the items of a list after a cursor, up to a limit; 0 is none. After an error the
// items before it are printed.
func printPages[T any](after string, limit uint, page func(after string, limit int) (admin.Page[T], error), print func(T) error) error {
	for printed := uint(0); ; {
		size := datafolder.PageSize
		if limit > 0 {
			size = min(size, int(limit-printed))
		}
		next, err := page(after, size)
		for _, item := range next.Items {
			if err := print(item); err != nil {
				return err
			}
		}
		printed += uint(len(next.Items))
		if err != nil || next.Next == "" || limit > 0 && printed >= limit {
			return err
		}
		after = next.Next
	}
}
