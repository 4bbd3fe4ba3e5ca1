/* Colours of what is drawn on canvases. Okabe and Ito's blue, vermilion and grey; cividis for maps: colour-blind people read both. */
"use strict";

(() => {
  const LIGHT = {
    paper: "#ffffff", ink: "#1c2530", quiet: "#5c6875", line: "#d5dbe1", grid: "#eceff2",
    good: "#c3dcee", goodInk: "#0072b2", bad: "#d55e00", none: "#b4b9bf", absent: "#f4f6f8", cursor: "#1c2530",
    lossLow: [255, 255, 255], lossMid: [240, 166, 96], lossHigh: [138, 46, 0],
  };
  const DARK = {
    paper: "#161b21", ink: "#e8ecf0", quiet: "#9aa6b2", line: "#36404a", grid: "#232a32",
    good: "#27506d", goodInk: "#6cb8e6", bad: "#ff8a3c", none: "#626b75", absent: "#1c2229", cursor: "#ffffff",
    lossLow: [28, 34, 41], lossMid: [176, 84, 20], lossHigh: [255, 214, 170],
  };
  // Nodes of matplotlib's cividis.
  const CIVIDIS = [[0, 34, 78], [0, 51, 111], [38, 68, 110], [69, 85, 108], [92, 102, 112], [113, 120, 118], [136, 138, 120], [160, 157, 117], [186, 177, 108], [213, 198, 93], [242, 221, 68], [254, 232, 56]];

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const listeners = [];

  const ramp = (nodes) => (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (nodes.length - 1);
    const i = Math.min(Math.floor(at), nodes.length - 2);
    return nodes[i].map((low, k) => Math.round(low + (nodes[i + 1][k] - low) * (at - i)));
  };

  dqmroot.theme = () => (dark.matches && !printing ? DARK : LIGHT);
  dqmroot.printing = () => printing;
  dqmroot.onTheme = (listener) => listeners.push(listener);
  dqmroot.palettes = {
    counts: () => ramp(CIVIDIS),
    loss: () => {
      const { lossLow, lossMid, lossHigh } = dqmroot.theme();
      return ramp([lossLow, lossMid, lossHigh]);
    },
  };
  dqmroot.rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  const redraw = () => listeners.forEach((listener) => listener());
  const print = (now) => {
    if (now !== printing) {
      printing = now;
      redraw();
    }
  };
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  window.matchMedia("print").addEventListener("change", (event) => print(event.matches));

  /** Make a canvas of so many CSS pixels sharp on this screen, and give its context. */
  dqmroot.canvas = (canvas, width, height) => {
    const scale = printing ? 2 : Math.min(window.devicePixelRatio || 1, 3);
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    return context;
  };

  /** Round numbers between low and high, about so many. */
  dqmroot.ticks = (low, high, about = 6, whole = false) => {
    const span = high - low;
    if (!(span > 0)) return [low];
    const raw = span / about;
    const power = 10 ** Math.floor(Math.log10(raw));
    let step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw * 0.999);
    if (whole) step = Math.max(1, Math.round(step));
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + span * 1e-9; k += 1) out.push(Number((k * step).toPrecision(12)));
    return out;
  };

  /** Text beside the pointer. */
  dqmroot.tip = (event, text) => {
    const tip = document.getElementById("tip");
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  };
})();
