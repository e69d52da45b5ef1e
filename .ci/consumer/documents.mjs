// Reads what konto promises its consumers, with the parser and the validator
// that they would use.
//
//   node documents.mjs BASE_URL

import assert from "node:assert/strict";
import { Parser } from "@asyncapi/parser";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";

const base = process.argv[2];
const get = async (path) => {
  const answer = await fetch(base + path);
  assert.equal(answer.status, 200, path);
  return answer.text();
};

const { document, diagnostics } = await new Parser().parse(await get("/asyncapi.json"));
const [error, warning] = [0, 1]; // severities
const wrong = diagnostics.filter(({ severity }) => severity === error || severity === warning);
assert.deepEqual(wrong.map(({ code, message, path }) => `${path.join("/")}: ${code}: ${message}`), []);
assert.equal(document.version(), "3.0.0");

let valid = 0;
for (const message of document.messages().all().filter((m) => m.id().startsWith("webhook."))) {
  const name = message.name().replace("konto.account.", "");
  const schema = JSON.parse(await get(`/schemas/${name}.json`));
  const validate = formats(new Ajv2020({ allowUnionTypes: true })).compile(schema);
  for (const example of schema.examples) {
    assert.ok(validate(example), `${name}: ${JSON.stringify(validate.errors)}`);
    valid++;
  }
}
assert.ok(valid >= 9, `only ${valid} examples`);
console.log(`AsyncAPI ${document.version()}: ${document.operations().all().length} operations, ${valid} schemas with their examples`);
