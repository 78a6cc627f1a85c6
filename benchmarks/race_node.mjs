// fast-check's scheduler on race_programs.js. One question as JSON in argv[2], one answer as JSON on stdout.
//
//   fast_check   folder into which npm has installed it      program   path of race_programs.js
//   users        the records                                 wait      "waitFor" | "waitIdle" | "waitAll"
//   speed:       seconds, seed                               -> {schedules, seconds, cpu_s, choices: [least, most], version}
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

function world(s, data) {
  const now = Promise.resolve();
  const after = (label, effect) => s.schedule(now, label).then(() => { choices += 1; return effect(); });
  return load(
    (user) => after("embed", () => new Float32Array(8).fill(user.text.length)),
    {
      fetch: (id) => after("fetch", () => data.get(id)),
      insert: (id, vector, metadata) => after("insert", () => void data.set(id, [vector.slice(), { ...metadata }])),
    },
    question.forgotten,
  );
}

async function play(s, name) {
  const data = new Map();
  const running = world(s, data)[name](users);
  if (question.wait === "waitFor") {
    await s.waitFor(running);
  } else {
    await s[question.wait]();
    if (question.wait === "waitIdle") {
      await running;
    }
  }
  return data.size === users.length;
}

async function speed() {
  let least = Infinity, most = 0, schedules = 0, seed = question.seed;
  const property = fc.asyncProperty(fc.scheduler(), async (s) => {
    choices = 0;
    const right = await play(s, "migrateDataToVectorDB");
    least = Math.min(least, choices);
    most = Math.max(most, choices);
    schedules += 1;
    return right || question.wait === "waitAll";
  });
  const some = () => fc.assert(property, { numRuns: 25, seed: seed++, endOnFailure: true });
  await some(); // the just-in-time compiler's share
  schedules = 0;
  const began = process.hrtime.bigint(), cpu = process.cpuUsage();
  const passed = () => Number(process.hrtime.bigint() - began) / 1e9;
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
