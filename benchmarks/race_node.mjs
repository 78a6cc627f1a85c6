// fast-check's scheduler on race_programs.js. One question as JSON in argv[2], one answer as JSON on stdout.
//
//   fast_check   folder into which npm has installed it      program   path of race_programs.js
//   users        the records                                 wait      "waitFor" | "waitIdle" | "waitAll"
//   speed:       seconds, warm_up (seconds), seed                               -> {schedules, seconds, cpu_s, choices: [least, most], version}
//   find:        cap, seconds, seeds, forgotten               -> {found: [schedules or null], played: [schedules]}
//
// Effects happen when an operation completes, as in the laboratory's store. `schedule` with a label that exists already is the
// cheapest way to schedule that there is; `scheduleFunction` would put its arguments into words for each call.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const question = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(`${question.fast_check}/of-the-benchmark.js`);
const fc = require("fast-check");
const { version } = require("fast-check/package.json");
const text = readFileSync(question.program, "utf8");
const load = new Function("generateVector", "vectorDB", "FORGOTTEN", `${text}; return {migrateDataToVectorDB, forgetOne};`);
const { users } = question;

let choices = 0;

const vectors = new Map(users.map((user) => [user.text, Float32Array.from({ length: 8 }, (_, place) => user.text.length + place)]));
const parents = new Map(users.filter((user) => user.dependsOn.length > 0).map((user) => [user.id, user.dependsOn]));

function world(s, data, premature) {
  const now = Promise.resolve();
  const after = (label, effect) => s.schedule(now, label).then(() => { choices += 1; return effect(); });
  const insert = (id, vector, metadata) => {
    for (const parent of parents.get(id) ?? []) {
      if (!data.has(parent)) premature.push([id, parent]);
    }
    data.set(id, [vector, metadata]);
  };
  return load(
    (user) => after("embed", () => vectors.get(user.text).slice()),
    {
      fetch: (id) => after("fetch", () => data.get(id)),
      insert: (id, vector, metadata) => {
        const sent = vector.slice(), copied = { ...metadata };
        return after("insert", () => insert(id, sent, copied));
      },
    },
    question.forgotten,
  );
}

// Of what the laboratory checks in every schedule, all that one that does not fail costs.
function right(data, premature) {
  if (premature.length > 0 || data.size !== users.length) return false;
  for (const { id, text, metadata } of users) {
    const row = data.get(id);
    if (row === undefined) return false;
    const [vector, stored] = row, expected = vectors.get(text);
    for (let place = 0; place < expected.length; place += 1) {
      if (vector[place] !== expected[place]) return false;
    }
    for (const name in metadata) {
      if (stored[name] !== metadata[name]) return false;
    }
  }
  return true;
}

async function play(s, name) {
  const data = new Map(), premature = [];
  const running = world(s, data, premature)[name](users);
  if (question.wait === "waitFor") {
    await s.waitFor(running);
  } else {
    await s[question.wait]();
    if (question.wait === "waitIdle") {
      await running;
    }
  }
  return right(data, premature);
}

async function speed() {
  let least = Infinity, most = 0, schedules = 0, seed = question.seed;
  const property = fc.asyncProperty(fc.scheduler(), async (s) => {
    choices = 0;
    const passes = await play(s, "migrateDataToVectorDB");
    least = Math.min(least, choices);
    most = Math.max(most, choices);
    schedules += 1;
    return passes || question.wait === "waitAll";
  });
  const some = () => fc.assert(property, { numRuns: 25, seed: seed++, endOnFailure: true });
  let began = process.hrtime.bigint();
  const passed = () => Number(process.hrtime.bigint() - began) / 1e9;
  while (passed() < question.warm_up) {
    await some(); // the just-in-time compiler's share
  }
  schedules = 0;
  began = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  while (passed() < question.seconds) {
    await some();
  }
  const seconds = passed(), spent = process.cpuUsage(cpu);
  return { schedules, seconds, cpu_s: (spent.user + spent.system) / 1e6, choices: [least, most], version };
}

async function find() {
  if (!users.some((user) => user.id === question.forgotten)) {
    throw new Error(`nobody is called ${question.forgotten}`);
  }
  const found = [], played = [];
  for (const seed of question.seeds) {
    const property = fc.asyncProperty(fc.scheduler(), (s) => play(s, "forgetOne"));
    const result = await fc.check(property, {
      numRuns: question.cap, seed, endOnFailure: true, interruptAfterTimeLimit: question.seconds * 1000,
    });
    const failed = result.failed && !result.interrupted && result.counterexample !== null;
    found.push(failed ? result.numRuns : null);
    played.push(result.numRuns);
  }
  return { found, played };
}

console.log(JSON.stringify(await (question.what === "speed" ? speed() : find())));
