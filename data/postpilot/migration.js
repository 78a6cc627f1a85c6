// PostPilot: moves the accounts and their posts into the vector database that feeds the recommendations.
//
// This file is evidence of case ERR-2026-57. It was written anew after the description of the incident; the mistakes in it are
// the incident's. `records` come in the order in which they were created, an account always before its posts.
'use strict';

const vectorIds = {};     // account id -> number of the account's vector
let lastVectorId = 0;

// An error that is noticed after an `await` no longer knows who called; the path is therefore taken down beforehand.
function callPath() {
  return new Error().stack.split('\n').slice(2).join('\n');
}

function reportKeyNotFound(userId, vectorId, path) {
  console.error(
    `ERROR: Data Corruption Detected in Migration: Key Not Found - UserId: ${userId}, Vector ID: ${vectorId}\n${path}`,
  );
}

async function processMigration(records) {
  console.log(`INFO: Migration started - Records: ${records.length}`);
  await migrateDataToVectorDB(records);
  console.log('INFO: Migration completed successfully');
}

async function migrateDataToVectorDB(users) {
  const path = callPath();
  users.forEach(async (user) => {
    const vector = await generateVector(user);
    let vectorId = user.id;
    for (const owner of user.dependsOn) {
      // A post is filed only when its account has a vector: undefined becomes NaN here, and NaN goes on.
      vectorId = Number(vectorIds[owner]) && user.id;
      if (Number.isNaN(vectorId)) {
        reportKeyNotFound(owner, vectorId, path);
      }
    }
    await vectorDB.insert(vectorId, vector, user.metadata);
    vectorIds[user.id] = ++lastVectorId;
  });
}
