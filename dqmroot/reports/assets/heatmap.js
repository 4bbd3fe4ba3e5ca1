/* The time line and the map of LS x monitoring elements. Only what is in sight is drawn, so size does not matter. */
"use strict";

(() => {
  const { GOOD, BAD, NO_SCORE, NO_CUT, ABSENT } = dqmroot;
  const WORDS = ["good", "bad", "not judged: empty or not a number", "not judged: no working point", "no histogram"];
  // Where several LS share a pixel, the most telling one is shown.
  const RANK = [2, 4, 1, 1, 0];
  const BY_RANK = [ABSENT, NO_SCORE, GOOD, GOOD, BAD];
  const NAMED = 17;

  const view = { run: null, mes: [], order: [], from: 0, to: 1, row: 0, lumi: null, colour: "verdict", rows: "named", select: null, say: null };
  let lanes, map, space, canvas, gutter = 230, width = 900, drag = null, asked = false;

  dqmroot.words = WORDS;
  dqmroot.view = view;

  const rowHeight = () => {
    const n = Math.max(1, view.order.length);
    if (dqmroot.printing()) return Math.max(2, Math.min(13, Math.floor(820 / n)));
    return view.rows === "named" ? NAMED : Math.max(1, Math.min(NAMED, 520 / n));
  };
  const mapHeight = () => {
    const all = Math.ceil(Math.max(1, view.order.length) * rowHeight());
    return dqmroot.printing() ? all : Math.min(all, Math.max(170, Math.round(window.innerHeight * 0.46)));
  };
  const scroll = () => (dqmroot.printing() ? 0 : map.scrollTop);
  const x = (lumi) => gutter + ((lumi - view.from) / (view.to - view.from)) * (width - gutter);
  const lumiAt = (px) => Math.floor(view.from + ((px - gutter) / (width - gutter)) * (view.to - view.from));

  dqmroot.column = (run, lumi) => (lumi < run.first || lumi > run.last ? -1 : run.at[lumi - run.first]);

  /** What one ME said in one LS: {state, score}. */
  dqmroot.cell = (run, me, lumi) => {
    const i = dqmroot.column(run, lumi);
    if (i < 0) return { state: ABSENT, score: NaN };
    const k = me * run.lumi.length + i;
    return { state: run.state[k], score: run.score[k] };
  };

  const describe = (run, me, lumi) => {
    const i = dqmroot.column(run, lumi);
    if (i < 0) return `LS ${lumi}: no data`;
    const { state, score } = dqmroot.cell(run, me, lumi);
    const cut = view.mes[me].threshold;
    const number = Number.isNaN(score) ? "" : `, score ${dqmroot.show(score)}${cut === null ? "" : ` (cut ${dqmroot.show(cut)})`}`;
    return `LS ${lumi}, ${dqmroot.short(view.mes[me].name, 80)}: ${WORDS[state]}${number}`;
  };

  /* ---- drawing ---- */

  const packColour = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;

  /** First and last LS that each pixel covers. */
  const columnRanges = (pixels) => {
    const run = view.run;
    const ranges = new Int32Array(pixels * 2);
    const per = (view.to - view.from) / pixels;
    for (let p = 0; p < pixels; p += 1) {
      let low = Math.floor(view.from + p * per + 1e-9);
      let high = Math.floor(view.from + (p + 1) * per - 1e-9);
      low = Math.max(low, run.first);
      high = Math.min(Math.max(high, low), run.last);
      ranges[2 * p] = low;
      ranges[2 * p + 1] = high;
    }
    return ranges;
  };

  const paintMap = () => {
    const theme = dqmroot.theme();
    const height = mapHeight();
    const tall = rowHeight();
    map.style.height = `${height}px`;
    map.classList.toggle("still", dqmroot.printing());
    space.style.height = `${Math.ceil(view.order.length * tall)}px`;
    const context = dqmroot.canvas(canvas, width, height);
    const scale = canvas.width / width;
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, width, height);
    if (!view.order.length) {
      context.fillStyle = theme.quiet;
      context.fillText("No monitoring element has such a name.", 8, height / 2);
      return;
    }
    const left = Math.round(gutter * scale);
    const top = scroll();
    const first = Math.floor(top / tall);
    const last = Math.min(view.order.length - 1, Math.floor((top + height) / tall));
    context.putImageData(cells(canvas.width - left, canvas.height, scale, tall, top, first, last), left, 0);
    paintNames(context, theme, first, last, tall, top);
    paintCursor(context, theme, height, tall, top);
  };

  /* What was last painted, and for which view: moving the cursor alone changes no cell. */
  let painted = null;

  const cells = (pixels, tallAll, scale, tall, top, first, last) => {
    const run = view.run;
    const theme = dqmroot.theme();
    const key = [run, view.order, theme, view.from, view.to, view.colour, pixels, tallAll, scale, tall, top];
    if (painted && painted.key.every((value, i) => value === key[i])) return painted.image;
    const ranges = columnRanges(pixels);
    const image = new ImageData(pixels, tallAll);
    const out = new Uint32Array(image.data.buffer);
    const paper = packColour(dqmroot.rgb(theme.paper));
    out.fill(paper);
    const colours = [theme.good, theme.bad, theme.none, theme.none, theme.absent].map((hex) => packColour(dqmroot.rgb(hex)));
    const cividis = dqmroot.palettes.counts();
    const scores = Array.from({ length: 256 }, (_, i) => packColour(cividis(i / 255)));
    const line = new Uint32Array(pixels);
    const gap = tall * scale >= 6 ? Math.round(scale) : 0;
    const n = run.lumi.length;
    for (let r = first; r <= last; r += 1) {
      const me = view.order[r];
      const base = me * n;
      const cut = view.mes[me].threshold;
      for (let p = 0; p < pixels; p += 1) {
        let best = -1, worst = -Infinity;
        for (let lumi = ranges[2 * p]; lumi <= ranges[2 * p + 1]; lumi += 1) {
          const i = run.at[lumi - run.first];
          if (i < 0) continue;
          const rank = RANK[run.state[base + i]];
          if (rank > best) best = rank;
          if (run.score[base + i] > worst) worst = run.score[base + i];
        }
        if (best < 0) line[p] = paper;
        else if (view.colour === "score" && cut !== null && worst > -Infinity) {
          const share = worst > 0 ? 0.5 + Math.log10(worst / cut) / 2 : 0;
          line[p] = scores[Math.round(Math.min(Math.max(share, 0), 1) * 255)];
        } else line[p] = view.colour === "score" && best > 1 ? colours[NO_CUT] : colours[BY_RANK[best]];
      }
      const y0 = Math.max(0, Math.round((r * tall - top) * scale));
      const y1 = Math.min(tallAll, Math.round(((r + 1) * tall - top) * scale) - gap);
      for (let y = y0; y < Math.max(y1, Math.min(y0 + 1, tallAll)); y += 1) out.set(line, y * pixels);
    }
    painted = { key, image };
    return image;
  };

  const paintNames = (context, theme, first, last, tall, top) => {
    if (tall < 9) {
      context.fillStyle = theme.quiet;
      context.fillText(dqmroot.count(view.order.length, "monitoring element"), 4, 10);
      return;
    }
    context.font = `${Math.min(12, tall - 2)}px system-ui, sans-serif`;
    context.textAlign = "right";
    const most = Math.floor(gutter / 6.1);
    for (let r = first; r <= last; r += 1) {
      context.fillStyle = r === view.row ? theme.ink : theme.quiet;
      context.fillText(dqmroot.short(view.mes[view.order[r]].name, most), gutter - 8, (r + 0.5) * tall - top, gutter - 12);
    }
    context.textAlign = "left";
  };

  const paintCursor = (context, theme, height, tall, top) => {
    if (view.lumi === null || view.lumi < view.from || view.lumi >= view.to) return;
    const at = x(view.lumi);
    const wide = Math.max(2, x(view.lumi + 1) - at);
    context.strokeStyle = theme.cursor;
    context.lineWidth = 1;
    context.globalAlpha = 0.45;
    context.strokeRect(at - 0.5, -2, wide + 1, height + 4);
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeRect(at - 1, view.row * tall - top - 1, wide + 2, tall + 1);
  };

  const LANE = { verdict: 14, bit: 9, count: 40, number: 30, gap: 6, axis: 22 };

  const paintLanes = () => {
    const run = view.run;
    const theme = dqmroot.theme();
    const bits = run.lanes.filter((lane) => lane.bits);
    const numbers = run.lanes.filter((lane) => lane.numbers);
    const height = LANE.count + LANE.gap + LANE.verdict + LANE.gap + bits.length * (LANE.bit + 5) + numbers.length * (LANE.number + 5) + LANE.axis;
    const context = dqmroot.canvas(lanes, width, height);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, width, height);
    const pixels = Math.round(width - gutter);
    const ranges = columnRanges(pixels);
    const label = (text, y, most = 34) => {
      context.fillStyle = theme.quiet;
      context.textAlign = "right";
      context.fillText(dqmroot.short(text, most), gutter - 8, y, gutter - 12);
      context.textAlign = "left";
    };
    const each = (draw) => {
      for (let p = 0; p < pixels; p += 1) {
        const found = [];
        for (let lumi = ranges[2 * p]; lumi <= ranges[2 * p + 1]; lumi += 1) {
          const i = run.at[lumi - run.first];
          if (i >= 0) found.push(i);
        }
        if (found.length) draw(gutter + p, found);
      }
    };
    let y = 2;
    const most = Math.max(1, run.nBadMost);
    label(`bad elements (most ${run.nBadMost})`, y + LANE.count / 2);
    context.fillStyle = theme.grid;
    context.fillRect(gutter, y + LANE.count - 1, pixels, 1);
    context.fillStyle = theme.bad;
    each((px, found) => {
      const n = Math.max(...found.map((i) => run.nBad[i]));
      const tall = Math.round((n / most) * (LANE.count - 4));
      if (n) context.fillRect(px, y + LANE.count - 1 - Math.max(tall, 1), 1, Math.max(tall, 1));
    });
    y += LANE.count + LANE.gap;
    label("verdict", y + LANE.verdict / 2);
    each((px, found) => {
      const worst = found.some((i) => run.verdict[i] === 1) ? theme.bad : found.some((i) => run.verdict[i] === 0) ? theme.good : theme.none;
      context.fillStyle = worst;
      context.fillRect(px, y, 1, LANE.verdict);
    });
    y += LANE.verdict + LANE.gap;
    for (const lane of bits) {
      label(lane.name, y + LANE.bit / 2);
      each((px, found) => {
        const off = found.some((i) => lane.bits[i] === 0);
        context.fillStyle = off ? theme.none : found.some((i) => lane.bits[i] === 1) ? theme.goodInk : theme.absent;
        // Off is low, on is high: told by height as well as by colour.
        context.fillRect(px, off ? y + LANE.bit - 3 : y, 1, off ? 3 : LANE.bit);
      });
      y += LANE.bit + 5;
    }
    for (const lane of numbers) {
      label(`${lane.name} (${dqmroot.show(lane.low, 3)} to ${dqmroot.show(lane.high, 3)})`, y + LANE.number / 2);
      context.fillStyle = theme.grid;
      context.fillRect(gutter, y + LANE.number, pixels, 1);
      context.fillStyle = theme.goodInk;
      each((px, found) => {
        const known = found.map((i) => lane.numbers[i]).filter((value) => !Number.isNaN(value));
        if (!known.length) return;
        const place = (value) => y + LANE.number - 2 - ((value - lane.low) / (lane.high - lane.low || 1)) * (LANE.number - 4);
        const high = place(Math.max(...known));
        context.fillRect(px, high, 1, Math.max(1.5, place(Math.min(...known)) - high));
      });
      y += LANE.number + 5;
    }
    paintAxis(context, theme, y);
    if (view.lumi !== null && view.lumi >= view.from && view.lumi < view.to) {
      context.strokeStyle = theme.cursor;
      context.globalAlpha = 0.45;
      context.strokeRect(x(view.lumi) - 0.5, 0.5, Math.max(2, x(view.lumi + 1) - x(view.lumi)) + 1, height);
      context.globalAlpha = 1;
    }
    if (drag && drag.moved) {
      context.globalAlpha = 0.15;
      context.fillStyle = theme.ink;
      context.fillRect(Math.min(drag.x0, drag.x1), 0, Math.abs(drag.x1 - drag.x0), height);
      context.globalAlpha = 1;
    }
    lanes.setAttribute("aria-label", `Time line of run ${run.run}, LS ${run.first} to ${run.last}: ${run.told}`);
  };

  const paintAxis = (context, theme, y) => {
    context.fillStyle = theme.quiet;
    context.strokeStyle = theme.line;
    context.textAlign = "center";
    for (const tick of dqmroot.ticks(view.from, view.to - 1, Math.max(3, Math.round((width - gutter) / 90)), true)) {
      const at = x(tick + 0.5);
      context.fillRect(Math.round(at), y, 1, 4);
      context.fillText(String(tick), Math.min(at, width - context.measureText(String(tick)).width / 2), y + 13);
    }
    context.textAlign = "right";
    context.fillText("lumisection", gutter - 8, y + 13);
    context.textAlign = "left";
  };

  const paint = () => {
    asked = false;
    if (!view.run) return;
    width = Math.max(320, Math.floor(dqmroot.printing() ? 700 : map.clientWidth || map.parentElement.clientWidth));
    gutter = width < 640 ? 116 : Math.min(300, Math.round(width * 0.24));
    paintLanes();
    paintMap();
  };

  /** Draw at the next frame, however often it is asked for. */
  dqmroot.draw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(paint);
  };

  /* ---- moving about ---- */

  const clampView = (from, to) => {
    const run = view.run;
    const most = run.last - run.first + 1;
    const span = Math.max(Math.min(8, most), Math.min(to - from, most));
    const start = Math.max(run.first, Math.min(Math.round(from), run.last + 1 - span));
    view.from = start;
    view.to = start + Math.round(span);
    dqmroot.draw();
  };

  dqmroot.zoom = (factor, around = view.lumi === null ? (view.from + view.to) / 2 : view.lumi) => {
    const share = Math.min(Math.max((around - view.from) / (view.to - view.from), 0), 1);
    const span = (view.to - view.from) * factor;
    clampView(around - share * span, around + (1 - share) * span);
  };
  dqmroot.zoomAll = () => clampView(view.run.first, view.run.last + 1);

  const inSight = () => {
    const tall = rowHeight();
    const y = view.row * tall;
    if (y < map.scrollTop) map.scrollTop = y;
    else if (y + tall > map.scrollTop + map.clientHeight) map.scrollTop = y + tall - map.clientHeight;
    if (view.lumi !== null && (view.lumi < view.from || view.lumi >= view.to)) {
      const span = view.to - view.from;
      clampView(view.lumi - span / 2, view.lumi + span / 2);
    }
  };

  /** Put the cursor on a cell and say what is there. */
  dqmroot.point = (lumi, row, aloud = false) => {
    view.lumi = lumi;
    view.row = Math.max(0, Math.min(row, view.order.length - 1));
    inSight();
    dqmroot.draw();
    if (aloud && view.order.length) view.say(describe(view.run, view.order[view.row], lumi));
  };

  const step = (by) => {
    const { lumi } = view.run;
    const at = view.lumi === null ? (by > 0 ? -1 : lumi.length) : dqmroot.column(view.run, view.lumi);
    return lumi[Math.max(0, Math.min(lumi.length - 1, at + by))];
  };

  /** The next (by = 1) or previous (by = -1) bad LS of the run, or null. */
  dqmroot.nextBad = (by, from = view.lumi) => {
    const { lumi, verdict } = view.run;
    let at = from === null ? (by > 0 ? -1 : lumi.length) : dqmroot.column(view.run, from);
    for (at += by; at >= 0 && at < lumi.length; at += by) if (verdict[at] === 1) return lumi[at];
    return null;
  };

  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !view.run) return;
    const page = Math.max(1, Math.floor(map.clientHeight / rowHeight()) - 1);
    const { lumi } = view.run;
    const here = view.lumi === null ? step(1) : view.lumi;
    const moves = {
      ArrowLeft: () => dqmroot.point(step(-1), view.row, true),
      ArrowRight: () => dqmroot.point(step(1), view.row, true),
      ArrowUp: () => dqmroot.point(here, view.row - 1, true),
      ArrowDown: () => dqmroot.point(here, view.row + (view.lumi === null ? 0 : 1), true),
      PageUp: () => dqmroot.point(here, view.row - page, true),
      PageDown: () => dqmroot.point(here, view.row + page, true),
      Home: () => dqmroot.point(lumi[0], view.row, true),
      End: () => dqmroot.point(lumi[lumi.length - 1], view.row, true),
      Enter: () => view.order.length && view.select(here, view.order[view.row], true),
      " ": () => view.order.length && view.select(here, view.order[view.row], true),
      "+": () => dqmroot.zoom(0.5),
      "=": () => dqmroot.zoom(0.5),
      "-": () => dqmroot.zoom(2),
      0: () => dqmroot.zoomAll(),
      n: () => jump(1),
      p: () => jump(-1),
    };
    const move = moves[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!move) return;
    event.preventDefault();
    move();
  };

  const jump = (by) => {
    const lumi = dqmroot.nextBad(by);
    if (lumi === null) view.say(by > 0 ? "No later bad lumisection" : "No earlier bad lumisection");
    else {
      const me = dqmroot.worstMe(view.run, lumi);
      dqmroot.point(lumi, Math.max(0, view.order.indexOf(me)), true);
    }
  };

  const place = (event, element) => {
    const box = element.getBoundingClientRect();
    return { px: event.clientX - box.left, row: element === canvas ? Math.floor((event.clientY - box.top + scroll()) / rowHeight()) : null };
  };

  const listen = (element) => {
    element.addEventListener("pointerdown", (event) => {
      const { px } = place(event, element);
      if (event.button === 0 && px > gutter) drag = { x0: px, x1: px, moved: false, element };
    });
    element.addEventListener("pointermove", (event) => {
      if (!view.run) return;
      const { px, row } = place(event, element);
      if (drag && drag.element === element) {
        drag.x1 = Math.max(gutter, Math.min(px, width));
        if (Math.abs(drag.x1 - drag.x0) > 6) drag.moved = true;
        if (drag.moved) dqmroot.draw();
        return;
      }
      const lumi = lumiAt(px);
      const inside = px > gutter && lumi >= view.run.first && lumi <= view.run.last;
      if (row !== null && row < view.order.length && row >= 0) dqmroot.tip(event, inside ? describe(view.run, view.order[row], lumi) : dqmroot.short(view.mes[view.order[row]].name, 300));
      else dqmroot.tip(event, inside && row === null ? describeLs(lumi) : "");
    });
    element.addEventListener("pointerleave", () => dqmroot.tip(null, ""));
    element.addEventListener("click", (event) => {
      const { px, row } = place(event, element);
      if (drag && drag.moved) return;
      if (!view.run) return;
      if (px <= gutter) {
        if (row !== null && row < view.order.length) view.select(dqmroot.worstLs(view.run, view.order[row]), view.order[row]);
        return;
      }
      const lumi = nearest(lumiAt(px));
      if (row === null) view.select(lumi, dqmroot.worstMe(view.run, lumi));
      else if (row < view.order.length) view.select(pickBad(px, row, lumi), view.order[row]);
    });
    element.addEventListener("dblclick", () => view.run && dqmroot.zoomAll());
    element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey || !view.run) return;
      event.preventDefault();
      dqmroot.zoom(event.deltaY > 0 ? 1.25 : 0.8, lumiAt(place(event, element).px));
    }, { passive: false });
  };

  /** Of the LS that share the pixel clicked, take a bad one: it is the one that was seen. */
  const pickBad = (px, row, lumi) => {
    const last = lumiAt(px + 1);
    for (let other = lumiAt(px); other <= Math.max(last, lumi); other += 1) {
      if (dqmroot.cell(view.run, view.order[row], other).state === BAD) return other;
    }
    return lumi;
  };

  const nearest = (lumi) => {
    const { run } = view;
    for (let by = 0; by <= run.last - run.first; by += 1) {
      for (const other of [lumi - by, lumi + by]) if (dqmroot.column(run, other) >= 0) return other;
    }
    return run.first;
  };

  const describeLs = (lumi) => {
    const { run } = view;
    const i = dqmroot.column(run, lumi);
    if (i < 0) return `LS ${lumi}: no data`;
    const words = { 0: "good", 1: "bad", "-1": "not judged" };
    const more = run.lanes.map((lane) => {
      if (lane.bits) return `${lane.name} ${{ 0: "off", 1: "on" }[lane.bits[i]] || "not known"}`;
      return `${lane.name} ${dqmroot.show(lane.numbers[i])}`;
    });
    return [`LS ${lumi}: ${words[run.verdict[i]]}, ${dqmroot.count(run.nBad[i], "bad element")}`, ...more].join(" \u00b7 ");
  };

  dqmroot.startMap = () => {
    lanes = document.getElementById("lanes");
    map = document.getElementById("map");
    space = document.getElementById("map-space");
    canvas = document.getElementById("map-canvas");
    [lanes, canvas].forEach(listen);
    window.addEventListener("pointerup", () => {
      if (drag && drag.moved && view.run) {
        const [low, high] = [lumiAt(Math.min(drag.x0, drag.x1)), lumiAt(Math.max(drag.x0, drag.x1)) + 1];
        // The click that follows must still see that this was a drag.
        setTimeout(() => { drag = null; dqmroot.draw(); }, 0);
        clampView(low, high);
      } else setTimeout(() => { drag = null; }, 0);
    });
    map.addEventListener("keydown", keys);
    map.addEventListener("scroll", dqmroot.draw, { passive: true });
    window.addEventListener("resize", dqmroot.draw);
    dqmroot.onTheme(() => (dqmroot.printing() ? paint() : dqmroot.draw()));
  };

  /** Show a run that is unpacked. */
  dqmroot.showRun = (run) => {
    view.run = run;
    view.lumi = null;
    view.row = 0;
    map.scrollTop = 0;
    clampView(run.first, run.last + 1);
  };
})();
