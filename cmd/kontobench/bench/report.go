package bench

import "runtime"

// Report is what a bench found, in the order in which it is printed. A section
// that was not measured is absent.
type Report struct {
	Machine     Machine   `json:"machine"`
	Accounts    int       `json:"accounts"`
	Connections int       `json:"connections"`
	Seconds     float64   `json:"seconds"` // of each measurement
	Store       *Store    `json:"store,omitzero"`
	HTTP        []Request `json:"http,omitzero"`
	Lags        []Lags    `json:"lags,omitzero"`
	Rebuild     *Rebuild  `json:"rebuild,omitzero"`
	Memory      *Memory   `json:"memory,omitzero"`
	Growth      []Grown   `json:"growth,omitzero"`
}

// Machine is what all figures depend on.
type Machine struct {
	CPUs   int    `json:"cpus"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// ThisMachine is the one that the bench runs on.
func ThisMachine() Machine {
	return Machine{CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
}

// Store is how fast the log takes in events of one record each.
type Store struct {
	// RawRows is how many of the same rows a second SQLite takes, 100 in a transaction.
	RawRows float64   `json:"rawRowsPerSecond"`
	Appends []Appends `json:"appends"`
}

// Appends is of clients that each wait for their append.
type Appends struct {
	Clients   int     `json:"clients"`
	PerSecond float64 `json:"perSecond"`
	OfRaw     float64 `json:"ofRaw"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
}

// Request is of requests of one kind, over all accounts in turn or over one.
type Request struct {
	Method    string  `json:"method"`
	Accounts  int     `json:"accounts"`
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	Errors    int64   `json:"errors"`
	// CPU time a request, of the server (absent if unknown) and of the bench.
	ServerCPU float64 `json:"serverCpuUs,omitzero"`
	BenchCPU  float64 `json:"benchCpuUs"`
}

// Lags is how long after an update was acknowledged others knew of it, at one
// rate of updates.
type Lags struct {
	Load      string  `json:"load"` // "maximum" or "half"
	PerSecond float64 `json:"updatesPerSecond"`
	P50       float64 `json:"p50Ms"` // of the updates
	P99       float64 `json:"p99Ms"`
	Errors    int64   `json:"errors"`
	To        []Lag   `json:"to"`
}

// Lag is how long one of them took.
type Lag struct {
	What      string  `json:"what"` // "read model", "published" or "webhook"
	Events    int64   `json:"events"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	Most      float64 `json:"maxMs"`
	Recovered float64 `json:"recoveredMs"` // after the load's end
}

// Rebuild is how fast the read model is made anew.
type Rebuild struct {
	Events    uint64  `json:"events"`
	PerSecond float64 `json:"perSecond"`
	// Raw is how fast one goroutine reads the same records and decodes payloads like theirs.
	Raw   float64 `json:"rawPerSecond"`
	OfRaw float64 `json:"ofRaw"`
}

// Memory is what the server had resident, in MiB. It is absent where unknown.
type Memory struct {
	Begun float64 `json:"begunMiB,omitzero"` // when it was ready
	Ended float64 `json:"endedMiB"`          // after the load
	Most  float64 `json:"mostMiB"`
}

// Grown is how a server does with a log of some length and some accounts.
type Grown struct {
	Events   uint64  `json:"events"`
	Accounts int     `json:"accounts"`
	Log      float64 `json:"logMiB"`
	Start    float64 `json:"startMs"`
	Patch    Request `json:"patch"`
	Get      Request `json:"get"`
	Memory   *Memory `json:"memory,omitzero"`
}
