// What a migration finds around itself in Node and what needs no outside world: console, process, microtasks, modules.
//
// Part of the kernel's script. `state` is shared with it; `put` hands an event to the host.
globalThis.$lab_node = function $lab_node(realm) {
  "use strict";
  const { file, state, put, later, injected, NativeError, NativeDate } = realm;
  const global = globalThis, P = Promise, apply = Reflect.apply, { stringify } = JSON, { isArray } = Array;
  const { create, setPrototypeOf, getPrototypeOf, keys } = Object, { floor } = Math;
  const listeners = create(null);

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
    if (state.dead) return;
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

  // --- the process --------------------------------------------------------------------------------------------------------

  const leave = { toString() { return "process.exit"; } };
  const crash = function $lab_crash(error, event, promise) {
    if (state.dead || error === leave) return;
    if (state.forgiving && event === "unhandledRejection" && !(listeners[event] && listeners[event].length)) {
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
    if (state.dead) return;
    state.dead = true;
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
  const hrtime = function $lab_hrtime() { return [floor(state.nowMs / 1000), floor((state.nowMs % 1000) * 1e6)]; };
  hrtime.bigint = function $lab_hrtime_bigint() { return BigInt(floor(state.nowMs * 1e6)); };
  global.process = {
    argv: ["node", file], env: create(null), pid: 1, platform: "linux", version: "v20.0.0", versions: { node: "20.0.0" },
    exitCode: undefined, stdout: stream("log"), stderr: stream("error"), hrtime,
    on: listen, once: listen, addListener: listen, off() { return this; }, removeListener() { return this; },
    cwd() { return "/"; }, uptime() { return state.nowMs / 1000; }, memoryUsage() { return { heapUsed: 0, heapTotal: 0, rss: 0 }; },
    exit(code) {
      if (!state.dead) {
        state.dead = true;
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
  const refuse = function $lab_refuse(call) {
    if (!state.dead) put("refuse", call);
    throw new NativeError(`${call} is not available in the race laboratory`);
  };
  const outside = function $lab_outside(call) {
    return function $lab_absent() { return refuse(`${call}()`); };
  };
  // What Node brings along and needs no outside world.
  const check = function $lab_assert(condition, message) {
    if (!condition) throw message instanceof NativeError ? message : new NativeError(message || "The expression evaluated to a falsy value");
  };
  const equal = function $lab_equal(a, b, message) { check(Object.is(a, b), message || `${inspect(a, 2)} !== ${inspect(b, 2)}`); };
  const builtin = setPrototypeOf({
    "timers/promises": {
      setTimeout(ms, value) { return new P(function $lab_sleep(go) { later(go, ms, [value], false); }); },
      setImmediate(value) { return new P(function $lab_sleep(go) { later(go, 0, [value], false); }); },
    },
    perf_hooks: { performance: global.performance },
    process: global.process,
    assert: Object.assign(check, { ok: check, equal, strictEqual: equal }),
    util: {
      inspect(value) { return inspect(value, 2); },
      format(...args) { return format(args); },
      promisify(func) {
        return function $lab_promisified(...args) {
          return new P(function $lab_callback(go, fail) {
            apply(func, this, [...args, (error, value) => { if (error) fail(error); else go(value); }]);
          });
        };
      },
    },
  }, null);
  global.require = function $lab_require(name) {
    const plain = `${name}`.replace(/^node:/, "");
    if (builtin[plain] !== undefined) return builtin[plain];
    return new Proxy(outside(plain), {
      get(target, property) {
        if (property === "generateVector" || property === "vectorDB") return global[property];
        if (property in global.vectorDB) return global.vectorDB[property];
        if (property === "default") return global.require(name);
        if (typeof property === "symbol" || property === "then" || property === "prototype") return target[property];
        return outside(`${plain}.${property}`);
      },
    });
  };
  for (const name of ["fetch", "XMLHttpRequest", "WebSocket", "Worker"]) global[name] = outside(name);
  global.require.main = undefined;
  return { crash, describe, guard, leave };
};
