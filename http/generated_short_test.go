//go:build !long

package http

const generatedRequests = 3_000
