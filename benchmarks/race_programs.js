// race_programs.py once more, for our JavaScript driver and for fast-check: the same text runs under both.

async function write(user) {
  const vector = await generateVector(user);
  await vectorDB.fetch(user.id);
  await vectorDB.insert(user.id, vector, user.metadata);
}

const levels = (users) => [
  users.filter((user) => user.dependsOn.length === 0),
  users.filter((user) => user.dependsOn.length > 0),
];

async function migrateDataToVectorDB(users) {
  for (const level of levels(users)) {
    await Promise.all(level.map(write));
  }
}

// FORGOTTEN: the id of the one whose write nobody waits for.
async function forgetOne(users) {
  for (const level of levels(users)) {
    const writing = [];
    for (const user of level) {
      const task = write(user);
      if (user.id !== FORGOTTEN) {
        writing.push(task);
      }
    }
    await Promise.all(writing);
  }
}
