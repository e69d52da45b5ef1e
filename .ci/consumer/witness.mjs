// Receives webhooks and prints a line for each, once a public library or Node
// itself has verified it, and has refused it when it was changed.
//
//   node witness.mjs PORT
//
//   KONTO_URL          where konto is, which is what it calls itself in tokens
//   WEBHOOK_PUBLIC_KEY whpk_..., of the third party at /ed25519
//   RISC_AUDIENCE      the name of the third party at /risc

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { createRemoteJWKSet, jwtVerify } from "jose";

const { KONTO_URL, WEBHOOK_PUBLIC_KEY, RISC_AUDIENCE } = process.env;

const x = Buffer.from(WEBHOOK_PUBLIC_KEY.replace("whpk_", ""), "base64").toString("base64url");
const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });

function ed25519(headers, body) {
  const signatures = headers["webhook-signature"].split(" ").filter((s) => s.startsWith("v1a,"));
  const holds = (signed) => signatures.some((s) => verify(null, Buffer.from(signed), publicKey, Buffer.from(s.slice(4), "base64")));
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  assert.ok(holds(signed + body), "no v1a signature fits");
  assert.ok(!holds(signed + body + " "), "the signature fits another body");
  const event = JSON.parse(body);
  assert.equal(event.id, headers["webhook-id"]);
  return `v1a ${event.type} ${JSON.stringify(event.data)}`;
}

const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", KONTO_URL));
const expected = { issuer: KONTO_URL, audience: RISC_AUDIENCE, typ: "secevent+jwt", algorithms: ["EdDSA"] };

async function risc(headers, body) {
  assert.equal(headers["content-type"], "application/secevent+jwt");
  const { payload } = await jwtVerify(body, keys, expected);
  const [head, , signature] = body.split(".");
  const forged = Buffer.from(JSON.stringify({ ...payload, jti: "forged" })).toString("base64url");
  await assert.rejects(jwtVerify([head, forged, signature].join("."), keys, expected), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
  await assert.rejects(jwtVerify(body, keys, { ...expected, audience: "somebody else" }), { code: "ERR_JWT_CLAIM_VALIDATION_FAILED" });
  assert.equal(payload.jti, headers["webhook-id"]);
  return `risc ${JSON.stringify(payload.sub_id)} ${JSON.stringify(payload.events)}`;
}

const witnesses = { "/ed25519": ed25519, "/risc": risc };
createServer(async (request, response) => {
  try {
    console.log(await witnesses[request.url](request.headers, await text(request)));
    response.writeHead(202).end();
  } catch (problem) {
    console.error(problem);
    response.writeHead(400).end();
  }
}).listen(process.argv[2], "127.0.0.1");
