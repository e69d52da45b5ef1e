package http

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
)

// The algorithms by which outside issuers may sign (RFC 7518, section 3.1, and
// RFC 8037). None of them is symmetric: a public key is no secret to sign with.
const (
	algRSA   = "RS256"
	algECDSA = "ES256"
	algEdDSA = "EdDSA"
)

// minModulus is the length of the shortest RSA key that is taken, in bits
// (RFC 7518, section 3.3).
const minModulus = 2048

// jwk is a public key as a set of keys shows it (RFC 7517). Its numbers are in
// base64url, without padding.
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// public returns the key and the one algorithm that it is for; false for a key
// that konto has no use for, such as one for encryption.
func (k *jwk) public() (alg string, key any, ok bool) {
	switch {
	case k.Use != "" && k.Use != "sig":
		return "", nil, false
	case k.Type == "RSA":
		alg, key = algRSA, k.rsa()
	case k.Type == "EC" && k.Curve == "P-256":
		alg, key = algECDSA, k.ecdsa()
	case k.Type == "OKP" && k.Curve == "Ed25519":
		alg, key = algEdDSA, k.ed25519()
	}
	return alg, key, key != nil && (k.Alg == "" || k.Alg == alg)
}

func (k *jwk) rsa() any {
	n, e := new(big.Int).SetBytes(base64url(k.N)), new(big.Int).SetBytes(base64url(k.E))
	if n.BitLen() < minModulus || e.BitLen() > 31 || e.Bit(0) == 0 || e.Int64() < 3 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

// ecdsa checks that the point lies on the curve.
func (k *jwk) ecdsa() any {
	point := append([]byte{4}, append(base64url(k.X), base64url(k.Y)...)...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil
	}
	return key
}

func (k *jwk) ed25519() any {
	key := base64url(k.X)
	if len(key) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(key)
}

// base64url is nil for what is not.
func base64url(text string) []byte {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return data
}
