// A round trip through each contract with clients whose types are generated
// from the OpenAPI documents that the running konto serves.

import assert from "node:assert/strict";
import test from "node:test";
import createClient from "openapi-fetch";
import type { paths as Generic } from "./generic.js";
import type { components as HostUpComponents, paths as HostUp } from "./hostup.js";
import type { paths as Payway } from "./payway.js";

type HostUpSchemas = HostUpComponents["schemas"];

function env(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const baseUrl = env("KONTO_URL");
const bearer = (token: string) => ({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const hostup = createClient<HostUp>(bearer(env("KONTO_ACCOUNT_TOKEN")));
const generic = createClient<Generic>(bearer(env("KONTO_ACCOUNT_TOKEN")));
const payway = createClient<Payway>(bearer(env("KONTO_CLIENT_TOKEN")));
const paywayId = env("KONTO_PAYWAY_ID");

test("HostUp: read, update at the version that was read, and not at an older one", async () => {
  const read = await hostup.GET("/api/v2/me");
  assert.equal(read.response.status, 200);
  assert.ok(read.data);
  assert.match(read.data.id, /^client_/);
  const etag = read.response.headers.get("ETag") ?? "";
  const firstName = read.data.firstName === "Eva" ? "Ida" : "Eva";

  const params = { header: { "If-Match": etag } };
  const updated = await hostup.PATCH("/api/v2/me", { params, body: { firstName, address: { city: "Malmö", state: null } } });
  assert.equal(updated.data?.firstName, firstName);
  assert.equal(updated.data?.address.city, "Malmö");
  assert.equal(updated.data?.emailChangeState.status, "none");

  const late = await hostup.PATCH("/api/v2/me", { params, body: { firstName: "Ada" } });
  assert.equal(late.response.status, 412);
  assert.equal(late.error?.code, "precondition_failed");
});

test("HostUp: an error names the wrong member", async () => {
  const { error } = await hostup.PATCH("/api/v2/me", { body: { phoneNumber: "call me" } });
  assert.equal(error?.code, "invalid_request");
  assert.equal(error?.errors?.[0]?.pointer, "/phoneNumber");
});

test("HostUp: what is not in the document does not compile, nor is it taken", async () => {
  // @ts-expect-error colour is no member of the update
  const body: HostUpSchemas["MeUpdate"] = { colour: "red" };
  const { error } = await hostup.PATCH("/api/v2/me", { body });
  assert.equal(error?.errors?.[0]?.code, "unknown_field");
});

test("generic: settings are merged", async () => {
  const { data } = await generic.PATCH("/v1/account", { body: { settings: { timezone: "Europe/Berlin", currency: null } } });
  assert.equal(data?.settings.timezone, "Europe/Berlin");
  assert.equal(data?.settings.currency, null);
  assert.equal(data?.type, "individual");
});

test("Payway: an update with a token of client credentials is seen through all contracts", async () => {
  const issued = await createClient<Payway>({ baseUrl }).POST("/oauth/token", {
    body: {
      grant_type: "client_credentials", scope: "/external/account/w",
      client_id: env("KONTO_CLIENT_ID"), client_secret: env("KONTO_CLIENT_TOKEN"),
    },
    bodySerializer: (form) => new URLSearchParams(form as Record<string, string>),
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  assert.equal(issued.data?.token_type, "Bearer");
  const writer = createClient<Payway>(bearer(issued.data?.access_token ?? ""));

  const { data } = await writer.PUT("/external/api/v1/accounts", { body: { id: paywayId, atomic: true, last_name: "Ek", alias: "eva" } });
  assert.equal(data?.updated_fields, "last_name, alias");
  assert.equal(data?.not_updated_fields, "");

  const read = await payway.GET("/external/api/v1/accounts", { params: { query: { id: paywayId } } });
  assert.equal(read.data?.alias, "eva");
  assert.equal((await hostup.GET("/api/v2/me")).data?.lastName, "Ek");
});
