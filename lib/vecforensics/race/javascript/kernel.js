// The inside of the laboratory's JavaScript realm: operations, time, stacks, and the host's side of all of it.
//
// Nothing here decides anything. Operations are queued and handed out by `take`, answers come in through the host's functions,
// and between two calls the host runs the microtasks. So the order of events is the host's alone. What else a program finds
// around itself in Node is in node.js, which is part of the same script and runs first.
//
// Every function that can stand on a stack has a name that begins with `$lab`; frames of that name are left out of traces.
// What the migration can reach it can also replace, so the built-ins that are needed later are taken at the start.
globalThis.$lab_kernel = function $lab_kernel(file, epochMs, detail) {
  "use strict";
  const surround = globalThis.$lab_node;
  delete globalThis.$lab_kernel;
  delete globalThis.$lab_node;
  const global = globalThis, P = Promise, NativeError = Error, NativeDate = Date, apply = Reflect.apply;
  const { stringify, parse } = JSON, { isArray, from: arrayFrom } = Array;
  const { setPrototypeOf, defineProperty } = Object;
  const { floor } = Math, reject = P.reject.bind(P);
  const arrayNames = new Set(Object.getOwnPropertyNames(Array.prototype));

  const bare = function $lab_bare() { return setPrototypeOf([], null); };
  const bound = function $lab_bound(map) {
    const names = ["get", "set", "has", "delete", "clear", "entries", "keys"], result = setPrototypeOf({}, null);
    for (let i = 0; i < names.length; i++) {
      const method = map[names[i]];
      if (method) result[names[i]] = method.bind(map);
    }
    return result;
  };

  // `dead`: the process has ended. `forgiving`: an unhandled rejection is a warning.
  const state = { dead: false, forgiving: false, nowMs: 0 };
  let queue = bare(), count = 0, mishaps = 0;
  const resolves = bare(), rejects = bare();  // by token
  const timers = bound(new Map()), rejected = bound(new Map());
  const handedOut = bound(new WeakMap()), injected = bound(new WeakMap());
  const pristine = bare();

  const put = function $lab_put(kind, a, b, c, d, e) {
    const event = bare();
    event[0] = kind; event[1] = a; event[2] = b; event[3] = c; event[4] = d; event[5] = e;
    queue[queue.length] = event;
  };

  // --- stacks as V8 writes them ---------------------------------------------------------------------------------------

  const frame = function $lab_frame(site) {
    const name = site.getFunctionName();
    if (site.isNative() || site.getFileName() === null) {
      return name ? `${arrayNames.has(name) ? "Array." : ""}${name} (<anonymous>)` : "<anonymous>";
    }
    const where = `${file}:${site.getLineNumber()}:${site.getColumnNumber()}`;
    return name === "<eval>" ? `Object.<anonymous> (${where})` : name ? `${name} (${where})` : where;
  };
  const ours = function $lab_ours(site) {
    const name = site.getFunctionName();
    return typeof name === "string" && name.slice(0, 4) === "$lab";
  };
  const prepare = function $lab_prepare(error, sites) {
    let text, end = sites.length;
    try { text = `${error}`; } catch { text = "Error"; }
    // What lies below the program's own first frame is how the laboratory called it.
    while (end > 0 && (ours(sites[end - 1]) || sites[end - 1].isNative())) end -= 1;
    for (let i = 0; i < end; i++) {
      if (!ours(sites[i])) text += `\n    at ${frame(sites[i])}`;
    }
    return text;
  };
  NativeError.prepareStackTrace = prepare;
  AggregateError.prototype.message = "All promises were rejected";  // Promise.any says so in V8
  const place = function $lab_place() {
    const before = NativeError.prepareStackTrace, limit = NativeError.stackTraceLimit;
    let sites;
    try {
      NativeError.prepareStackTrace = function $lab_sites(_, found) { return found; };
      NativeError.stackTraceLimit = 20;
      sites = new NativeError().stack;
    } finally {
      NativeError.prepareStackTrace = before;
      NativeError.stackTraceLimit = limit;
    }
    for (let i = 0; i < sites.length; i++) {
      if (!ours(sites[i]) && !sites[i].isNative() && sites[i].getFileName() !== null) {
        const name = sites[i].getFunctionName();
        return `${sites[i].getLineNumber()}:${sites[i].getColumnNumber()}:${name === "<eval>" ? "" : name || "(anonymous)"}`;
      }
    }
    return null;
  };

  // --- operations ---------------------------------------------------------------------------------------------------------

  let lastResolve, lastReject;
  const executor = function $lab_executor(resolve, reject) { lastResolve = resolve; lastReject = reject; };
  const begin = function $lab_begin(kind, key, first, second) {
    const token = ++count;
    if (!state.dead) put(kind, token, key, first, second, detail ? place() : null);
    const promise = new P(executor);
    resolves[token] = lastResolve;
    rejects[token] = lastReject;
    return promise;
  };
  const numbers = function $lab_numbers(vector) {
    // A token for a vector that was handed out and is still what it was, else the numbers as text.
    if (vector === null || typeof vector !== "object") return "[]";
    const token = handedOut.get(vector);
    if (token !== undefined) {
      const original = pristine[token];
      let same = vector.length === original.length;
      for (let i = 0; same && i < original.length; i++) same = vector[i] === original[i];
      if (same) return token;
    }
    return stringify(arrayFrom(vector, function $lab_number(item) { return Number(item); }));
  };
  const write = function $lab_write(id, vector, metadata) {
    const key = `${id}`, values = numbers(vector);
    return begin("upsert", key, values, metadata === undefined || metadata === null ? null : stringify(metadata));
  };
  const insertRows = async function $lab_insertRows(rows) {
    const sent = [];
    for (let i = 0; i < rows.length; i++) {
      sent[i] = write(rows[i].id, rows[i].values === undefined ? rows[i].vector : rows[i].values, rows[i].metadata);
    }
    for (let i = 0; i < sent.length; i++) await sent[i];
    return { upsertedCount: rows.length };
  };
  const insert = function $lab_insert(id, vector, metadata) {
    try {
      if (id === null || typeof id !== "object") return write(id, vector, metadata);
    } catch (error) { return reject(error); }
    return insertRows(isArray(id) ? id : isArray(id.vectors) ? id.vectors : [id]);
  };
  const find = function $lab_fetch(id) {
    try { return begin("fetch", `${id}`, null, null); } catch (error) { return reject(error); }
  };
  const remove = function $lab_delete(id) {
    try { return begin("delete", `${id}`, null, null); } catch (error) { return reject(error); }
  };
  global.generateVector = function $lab_generateVector(user) {
    try {
      if (user === null || typeof user !== "object") return begin("embed", `${user}`, `${user}`, 0);
      const text = user.text === undefined ? stringify(user) : `${user.text}`;
      return begin("embed", `${user.id}`, text, Number(user.version) | 0);
    } catch (error) { return reject(error); }
  };
  global.vectorDB = { insert, upsert: insert, get: find, fetch: find, delete: remove };

  // --- time ---------------------------------------------------------------------------------------------------------------

  const later = function $lab_later(callback, delay, args, every) {
    const id = ++count;
    const wait = Number(delay) >= 1 ? Math.min(Number(delay), 2147483647) : 1;
    timers.set(id, { callback, args, every: every ? wait : 0 });
    if (!state.dead) put("timer", id, wait, null, null, detail ? place() : null);
    return { id, ref() { return this; }, unref() { return this; }, hasRef() { return true; }, [Symbol.toPrimitive]() { return id; } };
  };
  const cancel = function $lab_cancel(handle) {
    const id = handle !== null && typeof handle === "object" ? handle.id : Number(handle);
    if (timers.delete(id)) put("clear", id);
  };
  global.setTimeout = function $lab_setTimeout(callback, delay, ...args) { return later(callback, delay, args, false); };
  global.setInterval = function $lab_setInterval(callback, delay, ...args) { return later(callback, delay, args, true); };
  global.setImmediate = function $lab_setImmediate(callback, ...args) { return later(callback, 0, args, false); };
  global.clearTimeout = global.clearInterval = global.clearImmediate = cancel;

  const clock = function $lab_clock() { return epochMs + floor(state.nowMs); };
  // The realm lives in UTC, wherever the laboratory runs.
  const dates = NativeDate.prototype;
  for (const part of ["FullYear", "Month", "Date", "Day", "Hours", "Minutes", "Seconds", "Milliseconds"]) {
    dates[`get${part}`] = dates[`getUTC${part}`];
    if (part !== "Day") dates[`set${part}`] = dates[`setUTC${part}`];
  }
  dates.getTimezoneOffset = function $lab_getTimezoneOffset() { return 0; };
  dates.toString = dates.toLocaleString = dates.toUTCString;
  const LabDate = function Date(...args) {
    if (new.target === undefined) return new LabDate().toString();
    const when = args.length > 1 ? [NativeDate.UTC(...args)] : args.length ? args : [clock()];
    return Reflect.construct(NativeDate, when, new.target === LabDate ? NativeDate : new.target);
  };
  LabDate.prototype = NativeDate.prototype;
  LabDate.now = clock;
  LabDate.parse = NativeDate.parse;
  LabDate.UTC = NativeDate.UTC;
  defineProperty(NativeDate.prototype, "constructor", { value: LabDate, writable: true, configurable: true });
  global.Date = LabDate;
  defineProperty(global, "performance", {
    value: { now() { return state.nowMs; }, timeOrigin: epochMs, mark() {}, measure() {} }, writable: true, configurable: true,
  });
  let seed = 2463534242; // xorshift32, so that Math.random is the same in every run
  Math.random = function $lab_random() {
    seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
    return (seed >>> 0) / 4294967296;
  };
  delete global.Atomics;
  delete global.SharedArrayBuffer;

  const { crash, describe, guard, leave } = surround({ file, state, put, later, injected, NativeError, NativeDate });

  // --- the host's side ------------------------------------------------------------------------------------------------------

  const settle = function $lab_settle(token, answers, value) {
    const answer = answers[token];
    resolves[token] = rejects[token] = undefined;
    if (answer !== undefined && !state.dead) answer(value);
  };
  const host = {
    call: function $lab_call(now, func, records) {
      state.nowMs = now;
      const users = parse(records);
      (async function $lab_await() {
        try {
          await apply(func, undefined, [users]);
          if (!state.dead) put("return");
        } catch (error) {
          if (state.dead || error === leave) return;
          const told = describe(error);
          put("raise", told[0], told[1], told[2]);
        }
      })();
    },
    vector: function $lab_vector(now, token, id, ...values) {
      state.nowMs = now;
      pristine[id] = values.slice();
      handedOut.set(values, id);
      settle(token, resolves, values);
    },
    written: function $lab_written(now, token, id, vectorId) { state.nowMs = now; settle(token, resolves, { id, vectorId }); },
    row: function $lab_row(now, token, id, vectorId, metadata, ...values) {
      state.nowMs = now;
      settle(token, resolves, { id, vectorId, vector: values, values, metadata: metadata === null ? undefined : parse(metadata) });
    },
    absent: function $lab_absent(now, token) { state.nowMs = now; settle(token, resolves, undefined); },
    fail: function $lab_fail(now, token, name, message, status, retryAfter) {
      state.nowMs = now;
      const error = new NativeError(message);
      error.name = name;
      error.stack = `${name}: ${message}`;
      if (status) error.status = error.statusCode = status;
      if (retryAfter) error.retryAfter = retryAfter;
      if (name === "TimeoutError") error.code = "ETIMEDOUT";
      injected.set(error, token);
      settle(token, rejects, error);
    },
    fire: function $lab_fire(now, id) {
      state.nowMs = now;
      const timer = timers.get(id);
      if (timer === undefined || state.dead) return;
      if (timer.every) put("timer", id, timer.every, null, null, null);
      else timers.delete(id);
      guard(timer.callback, timer.args);
    },
    // As Node had it before version 15: a rejection that nobody handles is a warning.
    forgive: function $lab_forgive() { state.forgiving = true; },
    // Called by the engine itself whenever a promise is rejected with no handler, and when one gets its handler late.
    track: function $lab_track(promise, reason, handled) {
      if (handled) rejected.delete(promise);
      else { mishaps += 1; rejected.set(promise, reason); }
    },
    // What has happened since the last call, as JSON; "again" at its end where listeners ran and may have left microtasks.
    take: function $lab_take() {
      if (mishaps !== 0 && !state.dead) {
        mishaps = 0;
        for (const [promise, reason] of rejected.entries()) {
          rejected.delete(promise);
          crash(reason, "unhandledRejection", promise);
        }
        put("again");
      }
      if (queue.length === 0) return null;
      const text = stringify(queue);
      queue = bare();
      return text;
    },
  };
  global.$lab_track = host.track;  // until the host has taken it
  return function $lab_host(name) { return host[name]; };
};
