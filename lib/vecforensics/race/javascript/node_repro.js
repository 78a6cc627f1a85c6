// This program shows on plain Node what the race laboratory found in @NAME@. Run it: node @REPRO@
//
// The migration below is the original text. Around it stand a store and an embedder in memory in which every operation takes
// the time that makes the operations complete in the order of the witness. Nothing else is arranged; a migration without a
// race ends well under any such times. Exit code 1: the failure has shown itself. 0: it has not. 2: something else broke.
"use strict";
const vm = require("node:vm");
const SOURCE = @SOURCE@;
const USERS = @USERS@;
// [operation, id, milliseconds, fault]; the same operation on the same id takes its entries in this order.
const ANSWERS = @ANSWERS@;

const plan = new Map();
for (const [kind, key, ms, fault] of ANSWERS) {
  const name = JSON.stringify([kind, key]);
  if (!plan.has(name)) plan.set(name, []);
  plan.get(name).push({ ms, fault });
}
const rows = new Map(), hidden = new Map(), found = new Set(), byId = new Map(USERS.map((user) => [user.id, user]));
const inFlight = new Set();
let returned = false, text = 0;
const vectorOf = (user) => [...`${user.id}\n${user.text}`].reduce((v, ch, i) => {
  v[i % 8] = (v[i % 8] * 31 + ch.codePointAt(0)) % 65521;
  return v;
}, [1, 2, 3, 4, 5, 6, 7, 8]);
const same = (a, b) => JSON.stringify([...(a ?? [])]) === JSON.stringify(b);
const report = (kind, words) => { if (!found.has(`${kind} ${words}`)) { found.add(`${kind} ${words}`); console.error(`${kind}: ${words}`); } };

function operation(kind, key, effect) {
  const { ms, fault } = plan.get(JSON.stringify([kind, key]))?.shift() ?? { ms: 60000, fault: "" };
  const name = `${kind}(${key})`;
  inFlight.add(name);
  return new Promise((resolve, reject) => {
    setTimeout(() => {
      inFlight.delete(name);
      const fail = (error, more) => reject(Object.assign(new Error(error), more));
      if (fault === "error") return fail("503 service unavailable", { status: 503, statusCode: 503 });
      if (fault === "429") return fail("429 too many requests", { status: 429, statusCode: 429, retryAfter: 1 });
      if (fault === "timeout-lost") return fail(`no answer to ${name}`, { name: "TimeoutError", code: "ETIMEDOUT" });
      if (fault === "late") hidden.set(key, rows.get(key));
      const value = effect();
      if (fault === "timeout-committed") return fail(`no answer to ${name}`, { name: "TimeoutError", code: "ETIMEDOUT" });
      resolve(value);
    }, ms);
  });
}
function write(id, vector, metadata) {
  const key = `${id}`, sent = vector == null ? [] : [...vector];
  return operation("upsert", key, () => {
    for (const parent of byId.get(key)?.dependsOn ?? []) {
      if (byId.has(parent) && !rows.has(parent)) report("premature", `${key} was written before ${parent}`);
    }
    rows.set(key, { id: key, vector: sent, metadata });
    return { id: key };
  });
}
const insert = async (id, vector, metadata) => {
  if (id === null || typeof id !== "object") return write(id, vector, metadata);
  const batch = Array.isArray(id) ? id : Array.isArray(id.vectors) ? id.vectors : [id];
  await Promise.all(batch.map((row) => write(row.id, row.values ?? row.vector, row.metadata)));
};
const fetch = (id) => operation("fetch", `${id}`, () => {
  const row = hidden.has(`${id}`) ? hidden.get(`${id}`) : rows.get(`${id}`);
  return row && { ...row, values: row.vector, vectorId: 1 };
});
globalThis.vectorDB = { insert, upsert: insert, get: fetch, fetch, delete: (id) => operation("delete", `${id}`, () => void rows.delete(`${id}`)) };
globalThis.generateVector = (user) => operation("embed", `${user?.id ?? user}`, () => vectorOf(byId.get(user?.id) ?? { id: text++, text: `${user}` }));
globalThis.module = { exports: {} };
globalThis.exports = module.exports;
globalThis.require = () => new Proxy({}, { get: (_, name) => globalThis[name] ?? vectorDB[name] });

function check() {
  for (const user of USERS) {
    const row = rows.get(user.id);
    if (!row) report("missing", user.id);
    else if (!same(row.vector, vectorOf(user))) report("wrong vector", user.id);
  }
}
process.on("exit", (code) => {
  if (!returned) report(code ? "crash" : "deadlock", code ? "the process ended before migrate returned" : "migrate never returned");
  else if (code) report("crash", "the process ended with work under way");
  check();
  for (const [id, row] of rows) {
    if (byId.has(id)) {
      for (const parent of byId.get(id).dependsOn) if (byId.has(parent) && !rows.has(parent)) report("dangling", id);
      continue;
    }
    const owner = USERS.find((user) => same(row.vector, vectorOf(user)));
    report(owner && rows.has(owner.id) ? "duplicate" : owner || /^(nan|null|undefined|)$/i.test(id) ? "mangled_id" : "orphan", id);
  }
  console.error(found.size ? "the failure has shown itself" : "nothing went wrong");
  process.exitCode = found.size ? 1 : 0;
});
// A program that keeps itself alive (setInterval) is ended; one without work left ends before.
setTimeout(() => process.exit(0), 120000 + ANSWERS.reduce((sum, [, , ms]) => sum + ms, 0)).unref();
vm.runInThisContext(SOURCE, { filename: @FILE@ });
(async () => {
  const migrate = vm.runInThisContext(@FUNCTION@);
  await migrate(structuredClone(USERS));
  returned = true;
  check();
  for (const name of inFlight) report("task_left_behind", name);
})();
