//go:build long

package http

const generatedRequests = 200_000
