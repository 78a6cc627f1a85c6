// The inside of the laboratory's JavaScript realm: everything that a migration meets there and that Node or a client library
// would otherwise provide. Nothing here decides anything. Operations are queued and handed out by `take`, answers come in
// through `settle…`, and between two calls the host runs the microtasks. So the order of events is the host's alone.
//
// Every function that can stand on a stack has a name that begins with `$lab`; frames of that name are left out of traces.
// What the migration can reach it can also replace, so the built-ins that are needed later are taken at the start.
globalThis.$lab_kernel = (function $lab_kernel(file, epochMs, detail) {
  "use strict";
  delete globalThis.$lab_kernel;
  const global = globalThis, P = Promise, NativeError = Error, NativeDate = Date, apply = Reflect.apply;
  const { stringify, parse } = JSON, { isArray, from: arrayFrom } = Array;
  const { create, setPrototypeOf, defineProperty, getPrototypeOf, keys } = Object;
  const { floor } = Math, reject = P.reject.bind(P);
  const arrayNames = new Set(Object.getOwnPropertyNames(Array.prototype));

  const bare = function $lab_bare() { return setPrototypeOf([], null); };
  const bound = function $lab_bound(map) {
    const names = ["get", "set", "has", "delete", "clear", "entries", "keys"], result = create(null);
    for (let i = 0; i < names.length; i++) {
      const method = map[names[i]];
      if (method) result[names[i]] = method.bind(map);
    }
    return result;
  };

  let queue = bare(), count = 0, nowMs = 0, dead = false, forgiving = false, mishaps = 0;
  const resolves = bare(), rejects = bare();  // by token
  const timers = bound(new Map()), rejected = bound(new Map());
  const handedOut = bound(new WeakMap()), injected = bound(new WeakMap());
  const pristine = bare(), listeners = create(null);

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
    let text;
    try { text = `${error}`; } catch { text = "Error"; }
    for (let i = 0; i < sites.length; i++) {
      if (!ours(sites[i])) text += `\n    at ${frame(sites[i])}`;
    }
    return text;
  };
  NativeError.prepareStackTrace = prepare;
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

  const describe = function $lab_describe(error) {
    // [text, stack, tokens of injected errors that this one passes on]
    const tokens = [], seen = new Set();
    const walk = function $lab_walk(item) {
      if (item === null || typeof item !== "object" || seen.has(item) || seen.size > 50) return;
      seen.add(item);
      if (injected.has(item)) tokens[tokens.length] = injected.get(item);
      walk(item.cause);
      walk(item.reason);
      if (isArray(item.errors)) for (let i = 0; i < item.errors.length; i++) walk(item.errors[i]);
    };
    let text, stack = "";
    try { walk(error); } catch { /* a getter of theirs */ }
    try {
      if (error instanceof NativeError) {
        text = `${error.name}: ${error.message}`;
        stack = typeof error.stack === "string" ? error.stack : "";
      } else {
        text = inspect(error, 2);
      }
    } catch { text = "(an exception that cannot be shown)"; }
    return [text, stack, tokens];
  };

  // --- operations ---------------------------------------------------------------------------------------------------------

  let lastResolve, lastReject;
  const executor = function $lab_executor(resolve, reject) { lastResolve = resolve; lastReject = reject; };
  const begin = function $lab_begin(kind, key, first, second) {
    const token = ++count;
    if (!dead) put(kind, token, key, first, second, detail ? place() : null);
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
  const fetch = function $lab_fetch(id) {
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
  global.vectorDB = { insert, upsert: insert, get: fetch, fetch, delete: remove };

  // --- time ---------------------------------------------------------------------------------------------------------------

  const later = function $lab_later(callback, delay, args, every) {
    const id = ++count;
    const wait = Number(delay) >= 1 ? Math.min(Number(delay), 2147483647) : 1;
    timers.set(id, { callback, args, every: every ? wait : 0 });
    if (!dead) put("timer", id, wait, null, null, detail ? place() : null);
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

  const clock = function $lab_clock() { return epochMs + floor(nowMs); };
  const LabDate = function Date(...args) {
    if (new.target === undefined) return `${new NativeDate(clock())}`;
    return Reflect.construct(NativeDate, args.length ? args : [clock()], new.target === LabDate ? NativeDate : new.target);
  };
  LabDate.prototype = NativeDate.prototype;
  LabDate.now = clock;
  LabDate.parse = NativeDate.parse;
  LabDate.UTC = NativeDate.UTC;
  defineProperty(NativeDate.prototype, "constructor", { value: LabDate, writable: true, configurable: true });
  global.Date = LabDate;
  defineProperty(global, "performance", {
    value: { now() { return nowMs; }, timeOrigin: epochMs, mark() {}, measure() {} }, writable: true, configurable: true,
  });
  let seed = 2463534242; // xorshift32, so that Math.random is the same in every run
  Math.random = function $lab_random() {
    seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
    return (seed >>> 0) / 4294967296;
  };
  delete global.Atomics;
  delete global.SharedArrayBuffer;

  // --- console ------------------------------------------------------------------------------------------------------------

  const inspect = function $lab_inspect(value, depth) {
    if (typeof value === "string") return `'${value.replace(/\\/g, "\\\\").replace(/'/g, "\\'").replace(/\n/g, "\\n")}'`;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "symbol") return value.toString();
    if (Object.is(value, -0)) return "-0";
    if (typeof value === "function") return `[Function: ${value.name || "(anonymous)"}]`;
    if (value === null || typeof value !== "object") return `${value}`;
    if (value instanceof NativeError) return typeof value.stack === "string" ? value.stack : `${value}`;
    if (value instanceof NativeDate) return value.toISOString();
    if (value instanceof RegExp) return `${value}`;
    if (value instanceof P) return "Promise { ? }";
    if (depth < 0) return isArray(value) ? "[Array]" : "[Object]";
    if (value instanceof Map) return `Map(${value.size}) ${inspect(Object.fromEntries(value), depth)}`;
    if (value instanceof Set) return `Set(${value.size}) ${inspect([...value], depth)}`;
    if (isArray(value) || ArrayBuffer.isView(value)) {
      const shown = [];
      for (let i = 0; i < value.length && i < 100; i++) shown[i] = inspect(value[i], depth - 1);
      if (value.length > 100) shown[100] = `... ${value.length - 100} more items`;
      return shown.length ? `[ ${shown.join(", ")} ]` : "[]";
    }
    const kind = getPrototypeOf(value) && value.constructor && value.constructor.name;
    const fields = keys(value).map(function $lab_field(name) {
      return `${/^[\w$]+$/.test(name) ? name : inspect(name, 0)}: ${inspect(value[name], depth - 1)}`;
    });
    return `${kind && kind !== "Object" ? `${kind} ` : ""}${fields.length ? `{ ${fields.join(", ")} }` : "{}"}`;
  };
  const format = function $lab_format(args) {
    let rest = 0, text = "";
    if (typeof args[0] === "string") {
      rest = 1;
      text = args[0].replace(/%[sdifjoOc%]/g, function $lab_directive(directive) {
        if (directive === "%%") return "%";
        if (rest >= args.length) return directive;
        const value = args[rest++];
        switch (directive) {
          case "%s": return typeof value === "object" && value !== null ? inspect(value, 0) : `${String(value)}`;
          case "%d": return `${Number(value)}`;
          case "%i": return `${parseInt(value, 10)}`;
          case "%f": return `${parseFloat(value)}`;
          case "%j": return stringify(value);
          case "%c": return "";
          default: return inspect(value, 4);
        }
      });
    }
    for (let i = rest; i < args.length; i++) {
      text += (i ? " " : "") + (typeof args[i] === "string" ? args[i] : inspect(args[i], 2));
    }
    return text;
  };
  const say = function $lab_say(level, args) {
    if (dead) return;
    let text;
    try { text = format(args); } catch (error) { text = `(a value that cannot be shown: ${error})`; }
    put("log", level, text);
  };
  const speaker = function $lab_speaker(level) { return function $lab_console(...args) { say(level, args); }; };
  const silent = function $lab_silent() {};
  global.console = {
    log: speaker("log"), info: speaker("log"), debug: speaker("log"), table: speaker("log"), dir: speaker("log"),
    warn: speaker("warn"), error: speaker("error"), trace: speaker("error"),
    assert(condition, ...args) { if (!condition) say("error", ["Assertion failed", ...args]); },
    time: silent, timeEnd: silent, timeLog: silent, count: silent, group: silent, groupEnd: silent, groupCollapsed: silent,
  };

  // --- the process --------------------------------------------------------------------------------------------------------

  const leave = { toString() { return "process.exit"; } };
  const crash = function $lab_crash(error, event, promise) {
    if (dead || error === leave) return;
    if (forgiving && event === "unhandledRejection" && !(listeners[event] && listeners[event].length)) {
      const told = describe(error);
      put("log", "warn", `(node:1) UnhandledPromiseRejectionWarning: ${told[1] || told[0]}`);
      put("lost", told[0], told[1], told[2]);
      return;
    }
    const heard = listeners[event];
    if (heard && heard.length) {
      for (const listener of [...heard]) {
        try { apply(listener, global.process, event === "unhandledRejection" ? [error, promise] : [error, event]); }
        catch (next) { if (next !== leave) { die(next); } return; }
      }
      return;
    }
    die(error);
  };
  const die = function $lab_die(error) {
    if (dead) return;
    dead = true;
    const told = describe(error);
    put("crash", told[0], told[1], told[2]);
  };
  const guard = function $lab_guard(callback, args) {
    try { return apply(callback, undefined, args); } catch (error) { crash(error, "uncaughtException"); }
  };
  const listen = function $lab_on(event, listener) { (listeners[event] ||= []).push(listener); return this; };
  const stream = function $lab_stream(level) {
    return { isTTY: false, write(text) { say(level, ["%s", `${text}`.replace(/\n$/, "")]); return true; } };
  };
  const hrtime = function $lab_hrtime() { return [floor(nowMs / 1000), floor((nowMs % 1000) * 1e6)]; };
  hrtime.bigint = function $lab_hrtime_bigint() { return BigInt(floor(nowMs * 1e6)); };
  global.process = {
    argv: ["node", file], env: create(null), pid: 1, platform: "linux", version: "v20.0.0", versions: { node: "20.0.0" },
    exitCode: undefined, stdout: stream("log"), stderr: stream("error"), hrtime,
    on: listen, once: listen, addListener: listen, off() { return this; }, removeListener() { return this; },
    cwd() { return "/"; }, uptime() { return nowMs / 1000; }, memoryUsage() { return { heapUsed: 0, heapTotal: 0, rss: 0 }; },
    exit(code) {
      if (!dead) {
        dead = true;
        put("exit", Number(code === undefined ? global.process.exitCode || 0 : code) | 0);
      }
      throw leave;
    },
    nextTick(callback, ...args) { queueMicrotask(function $lab_tick() { guard(callback, args); }); },
  };
  const microtask = global.queueMicrotask;
  global.queueMicrotask = function $lab_queueMicrotask(callback) {
    microtask(function $lab_microtask() { guard(callback, []); });
  };

  // --- modules: what a file of CommonJS expects around itself ------------------------------------------------------------

  global.global = global;
  global.exports = {};
  global.module = { exports: global.exports, filename: file, id: "." };
  global.__filename = file;
  global.__dirname = "/";
  global.require = function $lab_require(name) {
    return new Proxy(function $lab_module() {}, {
      get(target, property) {
        if (property === "generateVector" || property === "vectorDB") return global[property];
        if (property in global.vectorDB) return global.vectorDB[property];
        if (property === "default") return global.require(name);
        if (typeof property === "symbol" || property === "then" || property === "prototype") return target[property];
        return function $lab_absent() {
          throw new NativeError(`${name}.${property} is not available in the race laboratory`);
        };
      },
    });
  };
  global.require.main = undefined;

  // --- the host's side ------------------------------------------------------------------------------------------------------

  const settle = function $lab_settle(token, answers, value) {
    const answer = answers[token];
    resolves[token] = rejects[token] = undefined;
    if (answer !== undefined && !dead) answer(value);
  };
  const host = {
    call(now, func, records) {
      nowMs = now;
      const users = parse(records);
      (async function $lab_await() {
        try {
          await apply(func, undefined, [users]);
          if (!dead) put("return");
        } catch (error) {
          if (dead || error === leave) return;
          const told = describe(error);
          put("raise", told[0], told[1], told[2]);
        }
      })();
    },
    vector(now, token, id, ...values) {
      nowMs = now;
      pristine[id] = values.slice();
      handedOut.set(values, id);
      settle(token, resolves, values);
    },
    written(now, token, id, vectorId) { nowMs = now; settle(token, resolves, { id, vectorId }); },
    row(now, token, id, vectorId, metadata, ...values) {
      nowMs = now;
      settle(token, resolves, { id, vectorId, vector: values, values, metadata: metadata === null ? undefined : parse(metadata) });
    },
    absent(now, token) { nowMs = now; settle(token, resolves, undefined); },
    fail(now, token, name, message, status, retryAfter) {
      nowMs = now;
      const error = new NativeError(message);
      error.name = name;
      error.stack = `${name}: ${message}`;
      if (status) error.status = error.statusCode = status;
      if (retryAfter) error.retryAfter = retryAfter;
      if (name === "TimeoutError") error.code = "ETIMEDOUT";
      injected.set(error, token);
      settle(token, rejects, error);
    },
    fire(now, id) {
      nowMs = now;
      const timer = timers.get(id);
      if (timer === undefined || dead) return;
      if (timer.every) put("timer", id, timer.every, null, null, null);
      else timers.delete(id);
      guard(timer.callback, timer.args);
    },
    // As Node had it before version 15: a rejection that nobody handles is a warning.
    forgive() { forgiving = true; },
    // Called by the engine itself whenever a promise is rejected with no handler, and when one gets its handler late.
    track(promise, reason, handled) {
      if (handled) rejected.delete(promise);
      else { mishaps += 1; rejected.set(promise, reason); }
    },
    // What has happened since the last call, as JSON; "again" at its end where listeners ran and may have left microtasks.
    take() {
      if (mishaps !== 0 && !dead) {
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
});
