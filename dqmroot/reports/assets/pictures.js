/* Pictures of histograms: maps, curves over each other, and the score against the lumisection. */
"use strict";

(() => {
  const { h } = dqmroot;

  dqmroot.edges = (axis) => axis.edges || Array.from({ length: axis.nbins + 1 }, (_, i) => axis.low + ((axis.high - axis.low) * i) / axis.nbins);

  /** Where a bin lies, in words. */
  dqmroot.bin = (axis, i) => {
    if (axis.labels.length && axis.labels[i]) return dqmroot.short(axis.labels[i], 40);
    const edges = dqmroot.edges(axis);
    return `${dqmroot.show(edges[i], 4)} to ${dqmroot.show(edges[i + 1], 4)}`;
  };

  const stats = (values) => {
    let low = Infinity, high = -Infinity, sum = 0;
    for (const value of values) {
      if (Number.isNaN(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      sum += value;
    }
    return low > high ? { low: 0, high: 0, sum: 0 } : { low, high, sum };
  };
  dqmroot.stats = stats;

  const alive = new Set();
  dqmroot.onTheme(() => {
    for (const redraw of [...alive]) redraw();
  });

  /** A figure that draws itself again when its size or the colours change. */
  const figure = (caption, summary, draw, hover) => {
    const canvas = h("canvas", { role: "img", "aria-label": `${caption}. ${summary}` });
    const box = h("figure", { class: "picture" }, h("figcaption", {}, caption), canvas);
    let last = 0;
    const redraw = () => {
      if (!box.isConnected && last) {
        alive.delete(redraw);
        observer.disconnect();
        return;
      }
      const width = dqmroot.printing() ? (box.classList.contains("wide") ? 470 : box.closest(".thumb") ? 120 : 232) : Math.floor(box.clientWidth);
      if (width < 40) return;
      if (!dqmroot.printing()) last = width;
      draw(canvas, width);
    };
    const observer = new ResizeObserver(() => {
      if (Math.floor(box.clientWidth) !== last) redraw();
    });
    observer.observe(box);
    alive.add(redraw);
    if (hover) {
      canvas.addEventListener("pointermove", (event) => {
        const at = canvas.getBoundingClientRect();
        dqmroot.tip(event, hover(event.clientX - at.left, event.clientY - at.top) || "");
      });
      canvas.addEventListener("pointerleave", () => dqmroot.tip(null, ""));
    }
    return box;
  };
  dqmroot.figure = figure;

  const axisTicks = (axis, about) => {
    if (axis.labels.some((label) => label)) {
      const step = Math.max(1, Math.ceil(axis.nbins / about));
      const edges = dqmroot.edges(axis);
      const out = [];
      for (let i = 0; i < axis.nbins; i += step) out.push([(edges[i] + edges[i + 1]) / 2, dqmroot.short(axis.labels[i] || "", 9)]);
      return out;
    }
    return dqmroot.ticks(axis.low, axis.high, about).map((tick) => [tick, dqmroot.show(tick, 4)]);
  };

  const frame = (context, theme, box, xs, ys, xTitle, yTitle) => {
    context.strokeStyle = theme.line;
    context.fillStyle = theme.quiet;
    context.lineWidth = 1;
    context.strokeRect(box.left - 0.5, box.top - 0.5, box.width + 1, box.height + 1);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    let free = -Infinity;
    for (const [at, text] of xs) {
      const half = context.measureText(text).width / 2;
      context.fillRect(Math.round(at), box.top + box.height, 1, 4);
      if (at - half < free) continue;
      free = at + half + 6;
      context.fillText(text, at, box.top + box.height + 12);
    }
    context.textAlign = "right";
    for (const [at, text] of ys) {
      context.fillRect(box.left - 4, Math.round(at), 4, 1);
      context.fillText(text, box.left - 7, at);
    }
    context.fillText(dqmroot.short(xTitle, 48), box.left + box.width, box.top + box.height + 27);
    context.textAlign = "left";
    context.fillText(dqmroot.short(yTitle, 30), Math.max(2, box.left - 44), box.top - 9);
  };

  /* ---- maps ---- */

  const drawMap = (canvas, width, values, axes, palette, small, range) => {
    const theme = dqmroot.theme();
    const [ax, ay] = axes;
    const box = small ? { left: 1, top: 1, width: width - 2 } : { left: 50, top: 20, width: width - 50 - 66 };
    box.height = Math.round(Math.min(Math.max(box.width * Math.min(Math.max(ay.nbins / ax.nbins, 0.45), 1.1), 40), 420));
    const context = dqmroot.canvas(canvas, width, box.top + box.height + (small ? 1 : 36));
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, width, canvas.height);
    const { low, high } = range || stats(values);
    const bottom = Math.min(low, 0);
    const ramp = palette();
    const image = new ImageData(ax.nbins, ay.nbins);
    const empty = dqmroot.rgb(theme.absent);
    for (let y = 0; y < ay.nbins; y += 1) {
      for (let i = 0; i < ax.nbins; i += 1) {
        const value = values[y * ax.nbins + i];
        const colour = Number.isNaN(value) || value === 0 ? empty : ramp((value - bottom) / (high - bottom || 1));
        image.data.set([...colour, 255], ((ay.nbins - 1 - y) * ax.nbins + i) * 4);
      }
    }
    const cells = new OffscreenCanvas(ax.nbins, ay.nbins);
    cells.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, box.left, box.top, box.width, box.height);
    if (small) return box;
    const place = (axis, start, length, flip) => {
      const [first, last] = [axis.low, axis.high];
      // Bins are drawn equally wide; ticks of variable bins follow them.
      const edges = dqmroot.edges(axis);
      return (value) => {
        let at = (value - first) / (last - first || 1);
        if (axis.edges) {
          const i = Math.max(0, Math.min(axis.nbins - 1, edges.findIndex((edge) => edge > value) - 1));
          at = (i + (value - edges[i]) / (edges[i + 1] - edges[i])) / axis.nbins;
        }
        return flip ? start + length * (1 - at) : start + length * at;
      };
    };
    const px = place(ax, box.left, box.width, false), py = place(ay, box.top, box.height, true);
    const xs = axisTicks(ax, Math.max(2, Math.round(box.width / 55))).map(([at, text]) => [px(at), text]);
    const ys = axisTicks(ay, Math.max(2, Math.round(box.height / 40))).map(([at, text]) => [py(at), text]);
    frame(context, theme, box, xs, ys, dqmroot.title(ax, "x"), dqmroot.title(ay, "y"));
    const bar = { left: box.left + box.width + 12, width: 10 };
    for (let i = 0; i < box.height; i += 1) {
      const [r, g, b] = ramp(1 - i / box.height);
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      context.fillRect(bar.left, box.top + i, bar.width, 1.5);
    }
    context.fillStyle = theme.quiet;
    context.font = "10px system-ui, sans-serif";
    for (const tick of dqmroot.ticks(bottom, high || 1, 4)) {
      const at = box.top + box.height * (1 - (tick - bottom) / (high - bottom || 1));
      if (at >= box.top - 2 && at <= box.top + box.height + 2) context.fillText(dqmroot.show(tick, 3), bar.left + bar.width + 4, at);
    }
    return box;
  };

  /** A map; `range` {low, high} lets several share their colours. */
  dqmroot.mapFigure = (caption, values, axes, palette, small = false, range = null) => {
    const [ax, ay] = axes;
    const { low, high, sum } = stats(values);
    let box = null;
    const summary = `Map of ${ax.nbins} by ${ay.nbins} bins, smallest ${dqmroot.show(low)}, largest ${dqmroot.show(high)}, sum ${dqmroot.show(sum)}`;
    return figure(caption, summary, (canvas, width) => { box = drawMap(canvas, width, values, axes, palette, small, range); }, (left, top) => {
      if (!box) return "";
      const i = Math.floor(((left - box.left) / box.width) * ax.nbins);
      const y = ay.nbins - 1 - Math.floor(((top - box.top) / box.height) * ay.nbins);
      if (i < 0 || i >= ax.nbins || y < 0 || y >= ay.nbins) return "";
      return `${dqmroot.title(ax, "x")} ${dqmroot.bin(ax, i)} \u00b7 ${dqmroot.title(ay, "y")} ${dqmroot.bin(ay, y)} \u00b7 ${dqmroot.show(values[y * ax.nbins + i])}`;
    });
  };

  /* ---- curves ---- */

  const STYLES = {
    original: (theme) => ({ colour: theme.ink, dash: [], wide: 1.8 }),
    reconstruction: (theme) => ({ colour: theme.bad, dash: [6, 3], wide: 1.8 }),
    reference: (theme) => ({ colour: theme.goodInk, dash: [2, 3], wide: 1.8 }),
    loss: (theme) => ({ colour: theme.bad, dash: [], wide: 1, fill: true }),
  };

  const drawCurves = (canvas, width, curves, axis, small) => {
    const theme = dqmroot.theme();
    const box = small ? { left: 1, top: 1, width: width - 2, height: Math.round(width * 0.5) } : { left: 58, top: 34, width: width - 58 - 10, height: Math.round(Math.min(Math.max(width * 0.42, 120), 280)) };
    const context = dqmroot.canvas(canvas, width, box.top + box.height + (small ? 1 : 36));
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, width, canvas.height);
    const edges = dqmroot.edges(axis);
    const all = curves.map((curve) => stats(curve.values));
    const low = Math.min(0, ...all.map((one) => one.low));
    const high = Math.max(...all.map((one) => one.high)) * 1.06 || 1;
    const px = (value) => box.left + (box.width * (value - axis.low)) / (axis.high - axis.low || 1);
    const py = (value) => box.top + box.height * (1 - (value - low) / (high - low || 1));
    for (const curve of curves) {
      const style = STYLES[curve.kind](theme);
      context.beginPath();
      context.moveTo(px(edges[0]), py(0));
      for (let i = 0; i < axis.nbins; i += 1) {
        const value = Number.isNaN(curve.values[i]) ? 0 : curve.values[i];
        context.lineTo(px(edges[i]), py(value));
        context.lineTo(px(edges[i + 1]), py(value));
      }
      context.lineTo(px(edges[axis.nbins]), py(0));
      context.strokeStyle = style.colour;
      context.lineWidth = style.wide;
      context.setLineDash(style.dash);
      context.stroke();
      if (style.fill) {
        context.fillStyle = style.colour;
        context.globalAlpha = 0.35;
        context.fill();
        context.globalAlpha = 1;
      }
      context.setLineDash([]);
    }
    if (small) return box;
    const xs = axisTicks(axis, Math.max(2, Math.round(box.width / 70))).map(([at, text]) => [px(at), text]);
    const ys = dqmroot.ticks(low, high, 4).map((tick) => [py(tick), dqmroot.show(tick, 3)]);
    frame(context, theme, box, xs, ys, dqmroot.title(axis, "x"), "");
    let left = box.left;
    context.font = "12px system-ui, sans-serif";
    for (const curve of curves) {
      const style = STYLES[curve.kind](theme);
      context.strokeStyle = style.colour;
      context.lineWidth = 2;
      context.setLineDash(style.dash);
      context.beginPath();
      context.moveTo(left, 14);
      context.lineTo(left + 22, 14);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = theme.ink;
      context.fillText(curve.name, left + 28, 14);
      left += 40 + context.measureText(curve.name).width;
    }
    return box;
  };

  /** curves: [{name, kind, values}], drawn over each other. */
  dqmroot.curvesFigure = (caption, curves, axis, small = false) => {
    const told = curves.map((curve) => {
      const { high, sum } = stats(curve.values);
      return `${curve.name}: largest ${dqmroot.show(high)}, sum ${dqmroot.show(sum)}`;
    });
    let box = null;
    return figure(caption, `${axis.nbins} bins. ${told.join("; ")}`, (canvas, width) => { box = drawCurves(canvas, width, curves, axis, small); }, (left) => {
      if (!box) return "";
      const value = axis.low + ((left - box.left) / box.width) * (axis.high - axis.low);
      const i = dqmroot.edges(axis).findIndex((edge) => edge > value) - 1;
      if (i < 0) return "";
      return [`${dqmroot.title(axis, "x")} ${dqmroot.bin(axis, i)}`, ...curves.map((curve) => `${curve.name} ${dqmroot.show(curve.values[i])}`)].join(" \u00b7 ");
    });
  };

  /* ---- score against LS ---- */

  const drawTrend = (canvas, width, run, me, cut, here) => {
    const theme = dqmroot.theme();
    const box = { left: 58, top: 14, width: width - 68, height: 130 };
    const context = dqmroot.canvas(canvas, width, box.top + box.height + 36);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, width, canvas.height);
    const n = run.lumi.length;
    const scores = run.score.subarray(me * n, (me + 1) * n);
    const known = [...scores].filter((value) => !Number.isNaN(value));
    if (!known.length) {
      context.fillStyle = theme.quiet;
      context.fillText("No score in this run.", box.left, 40);
      return box;
    }
    const all = cut === null ? known : [...known, cut];
    let low = Math.min(...all), high = Math.max(...all);
    const logarithmic = low > 0 && high / low > 20;
    const to = (value) => (logarithmic ? Math.log10(value) : value);
    [low, high] = [to(low), to(high)];
    const margin = (high - low || Math.abs(high) || 1) * 0.07;
    low -= margin;
    high += margin;
    const px = (lumi) => box.left + (box.width * (lumi - run.first + 0.5)) / (run.last - run.first + 1);
    const py = (value) => box.top + box.height * (1 - (to(value) - low) / (high - low));
    const ticks = logarithmic
      ? dqmroot.ticks(low, high, 4, true).map((tick) => [box.top + box.height * (1 - (tick - low) / (high - low)), dqmroot.show(10 ** tick, 3)])
      : dqmroot.ticks(low, high, 4).map((tick) => [py(tick), dqmroot.show(tick, 3)]);
    const xs = dqmroot.ticks(run.first, run.last, Math.max(2, Math.round(box.width / 80)), true).map((tick) => [px(tick), String(tick)]);
    frame(context, theme, box, xs, ticks, "lumisection", "");
    if (cut !== null) {
      context.strokeStyle = theme.ink;
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(box.left, py(cut));
      context.lineTo(box.left + box.width, py(cut));
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = theme.ink;
      context.textAlign = "right";
      context.fillText(`cut ${dqmroot.show(cut, 4)}`, box.left + box.width - 4, py(cut) - 8);
      context.textAlign = "left";
    }
    if (here !== null) {
      context.fillStyle = theme.ink;
      context.globalAlpha = 0.25;
      context.fillRect(px(here) - 1, box.top, 2, box.height);
      context.globalAlpha = 1;
    }
    for (let i = 0; i < n; i += 1) {
      if (Number.isNaN(scores[i])) continue;
      const bad = run.state[me * n + i] === dqmroot.BAD;
      context.fillStyle = bad ? theme.bad : run.state[me * n + i] === dqmroot.GOOD ? theme.goodInk : theme.none;
      const at = px(run.lumi[i]), y = py(scores[i]);
      // Bad ones are squares and larger: told by shape as well as by colour.
      if (bad) context.fillRect(at - 2.5, y - 2.5, 5, 5);
      else {
        context.beginPath();
        context.arc(at, y, 1.8, 0, 7);
        context.fill();
      }
    }
    return box;
  };

  dqmroot.trendFigure = (run, me, cut, here, choose) => {
    let box = null;
    const lumiAt = (left) => box && Math.round(run.first - 0.5 + ((left - box.left) / box.width) * (run.last - run.first + 1));
    const n = run.lumi.length;
    const { low, high } = stats(run.score.subarray(me * n, (me + 1) * n));
    const summary = `Scores from ${dqmroot.show(low)} to ${dqmroot.show(high)}, cut ${dqmroot.show(cut)}`;
    const made = figure(`Score in run ${run.run}`, summary, (canvas, width) => { box = drawTrend(canvas, width, run, me, cut, here); }, (left) => {
      const lumi = lumiAt(left);
      const { state, score } = dqmroot.cell(run, me, lumi);
      return dqmroot.column(run, lumi) < 0 ? "" : `LS ${lumi}: ${dqmroot.words[state]}, score ${dqmroot.show(score)}`;
    });
    made.querySelector("canvas").addEventListener("click", (event) => {
      const lumi = lumiAt(event.offsetX);
      if (dqmroot.column(run, lumi) >= 0) choose(lumi);
    });
    made.classList.add("wide");
    return made;
  };
})();
