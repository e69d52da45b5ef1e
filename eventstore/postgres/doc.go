// Package postgres is the log of many machines: an eventstore.AdminLog in Postgres with a synchronous
// standby. Any number of nodes append to one log and read it.
//
// Keys is an eventstore.KeyStore for several nodes, in the same database or another. See keys.go,
// vacuumkeys.go for how destroyed keys leave no bytes, and rotatekeys.go.
//
// Two rules make what a node says durable.
//
// A group of appends is committed locally, under the lock of one row, and then covered by a
// barrier: a small transaction that commits only when a synchronous standby has it, and with it
// everything committed before. An append is acknowledged when a barrier that began after its
// commit has completed on the same timeline. While the barrier waits for the standby, the next
// group, of this node or another, already holds the row. See append.go.
//
// What another node committed is visible before any standby has it, and a server that was
// replaced without noticing still answers. So a read is followed by a barrier too: nothing that
// was read leaves this package before a barrier that began after the read has completed on the
// timeline of the read. See barrier.go and read.go.
//
// What runs on one node at a time holds a lease (lease.go). Its writes check the lease's epoch, as
// those of Cursors do (cursors.go).
//
// One goroutine follows the log for all followers of a node. It reads only what a barrier has
// covered. See feed.go.
//
// Limits that hold for all nodes together are the exception: they wait for no standby, and start
// anew after a failover. See limits.go.
//
// A primary that hangs answers nothing, and its connections do not break. When another server is
// promoted, they are closed. See replaced.go.
//
// A log that an import fills is opened with OpenImport, and refused by OpenLog until the import has
// ended. See import.go.
package postgres
