// The same migration, corrected: level by level, and nothing goes on before what it depends on has been acknowledged.
//
// Parallel where it is harmless: the records of one level do not depend on one another, so a bounded number of them may be
// embedded and inserted at the same time. `await Promise.all` is the barrier that the original lacked.
'use strict';

const IN_FLIGHT = 24;

async function migrateDataToVectorDB(users) {
  const written = new Set();
  let waiting = users;
  while (waiting.length > 0) {
    const ready = waiting.filter((user) => user.dependsOn.every((owner) => written.has(owner)));
    if (ready.length === 0) {
      throw new Error(`${waiting.length} records depend on accounts that are not in the export`);
    }
    for (let start = 0; start < ready.length; start += IN_FLIGHT) {
      const wave = ready.slice(start, start + IN_FLIGHT);
      await Promise.all(wave.map(async (user) => {
        const vector = await generateVector(user);
        await vectorDB.insert(user.id, vector, user.metadata);
      }));
      wave.forEach((user) => written.add(user.id));
    }
    waiting = waiting.filter((user) => !written.has(user.id));
  }
}
