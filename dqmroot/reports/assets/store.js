/* Data, and the few helpers that every other script uses. The data are scripts too: from a disk, a page may read nothing else. */
"use strict";

const dqmroot = { GOOD: 0, BAD: 1, NO_SCORE: 2, NO_CUT: 3, ABSENT: 4 };

(() => {
  const arrived = new Map();
  const waiting = new Map();

  /** Called by each data script. */
  dqmroot.put = (name, data) => {
    arrived.set(name, data);
  };

  /** Load data/<name>.js once and give what it put. */
  dqmroot.load = (name) => {
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => (arrived.has(name) ? resolve(arrived.get(name)) : reject(new Error(`data/${name}.js is damaged`)));
        script.onerror = () => reject(new Error(`data/${name}.js cannot be read`));
        document.head.append(script);
      }));
    }
    return waiting.get(name);
  };

  const KINDS = { u1: Uint8Array, i1: Int8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

  dqmroot.bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** Unpack what packing.py packed: {values, shape}. */
  dqmroot.unpack = async (packed) => {
    const bytes = dqmroot.bytes(packed.data);
    const deflated = () => new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    let values = new KINDS[packed.type](packed.plain ? bytes.buffer : await new Response(deflated()).arrayBuffer());
    if ("low" in packed) {
      const levels = values;
      values = new Float64Array(levels.length);
      for (let i = 0; i < levels.length; i += 1) {
        const share = levels[i] / 65534;
        values[i] = levels[i] === 65535 ? NaN : packed.low + share * share * (packed.high - packed.low);
      }
    }
    return { values, shape: packed.shape };
  };

  /** Make an element; children that are text stay text, whatever they say. */
  dqmroot.h = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
      else if (key === "class") element.className = value;
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  /** A name as one line, without characters that turn or hide text. */
  dqmroot.plain = (name) => name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, "\u00b7");

  /** The end of a name, where names differ. */
  dqmroot.short = (name, most = 60) => {
    const one = dqmroot.plain(name);
    return one.length <= most ? one : `\u2026${one.slice(1 - most)}`;
  };

  dqmroot.name = (name, most = 400) => dqmroot.h("bdi", { class: "me", title: dqmroot.short(name, 2000) }, dqmroot.short(name, most));

  /** A number to so many digits, as people write it. */
  dqmroot.show = (value, digits = 5) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
    const round = Number(value.toPrecision(digits));
    const size = Math.abs(round);
    return (size !== 0 && (size < 1e-3 || size >= 1e6) ? round.toExponential() : String(round)).replace(/-/g, "\u2212").replace("e+", "e");
  };

  const GREEK = { alpha: "\u03b1", beta: "\u03b2", gamma: "\u03b3", delta: "\u03b4", epsilon: "\u03b5", eta: "\u03b7", theta: "\u03b8", lambda: "\u03bb", mu: "\u03bc", nu: "\u03bd", pi: "\u03c0", rho: "\u03c1", sigma: "\u03c3", tau: "\u03c4", phi: "\u03c6", varphi: "\u03c6", chi: "\u03c7", psi: "\u03c8", omega: "\u03c9", Delta: "\u0394", Phi: "\u03a6", Sigma: "\u03a3", Omega: "\u03a9" };

  /** The title of an axis, with ROOT's Greek letters. */
  dqmroot.title = (axis, otherwise) => (axis.title ? dqmroot.short(axis.title.replace(/#([A-Za-z]+)/g, (all, name) => (name in GREEK ? GREEK[name] : all)), 48) : otherwise);

  dqmroot.count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
})();
