/* "Why": what was said of one lumisection, and the pictures of one monitoring element in it. */
"use strict";

(() => {
  const { h, BAD, ABSENT } = dqmroot;
  const SHOWN = 12;
  const pictures = new Map();

  /** Unpack the pictures of an ME once. */
  const load = (me) => {
    if (!pictures.has(me)) pictures.set(me, dqmroot.load(`me-${me}`));
    return pictures.get(me);
  };

  const ratio = (run, me, lumi) => {
    const { score } = dqmroot.cell(run, me, lumi);
    const cut = dqmroot.view.mes[me].threshold;
    return Number.isNaN(score) || cut === null ? -Infinity : cut > 0 ? score / cut : score - cut;
  };

  /** The ME that speaks loudest in an LS: a flagged one if there is any. */
  dqmroot.worstMe = (run, lumi) => {
    let best = 0, most = -Infinity;
    dqmroot.view.mes.forEach((_, me) => {
      const value = ratio(run, me, lumi) + (dqmroot.cell(run, me, lumi).state === BAD ? 1e12 : 0);
      if (value > most) [best, most] = [me, value];
    });
    return best;
  };

  /** The LS of a run in which an ME scored worst. */
  dqmroot.worstLs = (run, me) => {
    const n = run.lumi.length;
    let best = 0, most = -Infinity;
    for (let i = 0; i < n; i += 1) if (run.score[me * n + i] > most) [best, most] = [i, run.score[me * n + i]];
    return run.lumi[best];
  };

  const reasons = (run, lumi, chosen, choose) => {
    const { mes } = dqmroot.view;
    const i = dqmroot.column(run, lumi);
    const all = mes.map((_, me) => ({ me, ...dqmroot.cell(run, me, lumi), ratio: ratio(run, me, lumi) }));
    const bad = all.filter((one) => one.state === BAD).sort((a, b) => b.ratio - a.ratio);
    const closest = all.filter((one) => one.state === dqmroot.GOOD && one.ratio > -Infinity).sort((a, b) => b.ratio - a.ratio);
    const shown = bad.length ? bad : closest.slice(0, 3);
    const button = ({ me, score, state }) => {
      const cut = mes[me].threshold;
      const share = cut > 0 ? Math.min(1, Math.max(0.02, Math.log10(1 + (9 * Math.min(score / cut, 10)) / 10))) : 0.5;
      return h("li", {}, h("button", { type: "button", class: "reason", "aria-pressed": String(me === chosen), on: { click: () => choose(me) } },
        dqmroot.name(mes[me].name, 160),
        h("span", { class: "verdict-line" }, h("span", { class: `meter ${state === BAD ? "bad" : "good"}`, "aria-hidden": "true" }, h("i", { style: `width:${Math.round(share * 100)}%` })),
          h("span", {}, `score ${dqmroot.show(score)} ${state === BAD ? "above" : "below"} ${dqmroot.show(cut)}`))));
    };
    const list = h("ul", { class: "reasons" }, ...shown.slice(0, SHOWN).map(button));
    const more = shown.length > SHOWN && h("button", { type: "button", class: "quiet", on: { click: (event) => {
      list.append(...shown.slice(SHOWN).map(button));
      event.target.remove();
    } } }, `show ${shown.length - SHOWN} more`);
    const silent = new Map();
    for (const { me, state } of all) {
      if (state > BAD) {
        const why = state === dqmroot.NO_CUT && mes[me].note ? `not judged: ${mes[me].note}` : dqmroot.words[state];
        silent.set(why, (silent.get(why) || 0) + 1);
      }
    }
    return [
      h("p", {}, bad.length ? `${dqmroot.count(bad.length, "monitoring element")} above the cut:` : closest.length ? "No monitoring element is above its cut. The closest:" : "No monitoring element judged this lumisection."),
      list,
      more,
      silent.size > 0 && h("ul", { class: "plain" }, ...[...silent].map(([why, n]) => h("li", {}, `${dqmroot.count(n, "element")} ${dqmroot.short(why, 200)}`))),
      run.reasons[i] && h("ul", { class: "plain" }, ...run.reasons[i].map((text) => h("li", {}, dqmroot.short(text, 400)))),
    ];
  };

  const facts = (me) => {
    const { model, ...one } = dqmroot.view.mes[me];
    const point = model.working_point || {};
    const sample = model.sample || {};
    const rows = [
      ["Cut", one.threshold === null ? "none" : dqmroot.show(one.threshold)],
      ["Working point", point.method ? `${point.method} = ${dqmroot.show(point.value)}${point.n ? `, found on ${dqmroot.count(point.n, "good LS", "good LS")}` : ""}` : null],
      ["Expected false rate", one.expected_false_rate === null ? "not known" : `${dqmroot.show(one.expected_false_rate * 100, 3)} % of good LS`],
      ["Note", one.note || null],
      ["Trained on", sample.n ? `${dqmroot.count(sample.n, "LS", "LS")} of ${runList(sample.runs || [])}` : null],
      ["Kept apart", sample.held_out || point.source || null],
      ["Detector", model.detector ? `${model.detector}${parameters(model.parameters)}` : null],
      ["Preparation", model.preparation || null],
      ["Class and bins", `${one.storage}, ${one.bins.join(" \u00d7 ")}`],
      ["In this certification", `${one.bad} bad, ${one.good} good, ${one.not_judged} not judged`],
    ];
    return h("dl", { class: "facts" }, ...rows.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, dqmroot.short(String(value), 600))]));
  };

  const runList = (runs) => (runs.length > 4 ? `${runs.length} runs, ${runs[0]} to ${runs[runs.length - 1]}` : `run${runs.length === 1 ? "" : "s"} ${runs.join(", ")}`);
  const parameters = (all) => (all && Object.keys(all).length ? ` (${Object.entries(all).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(", ")})` : "");

  const scaled = (values, to) => {
    const ratioOf = dqmroot.stats(values).sum;
    const factor = ratioOf ? dqmroot.stats(to).sum / ratioOf : 1;
    return factor > 0 ? values.map((value) => value * factor) : values;
  };

  const unpackAll = async (packed) => Object.fromEntries(await Promise.all(Object.entries(packed || {}).map(async ([key, one]) => [key, (await dqmroot.unpack(one)).values])));

  /* A slice for what has more than two axes: the sum over z. */
  const flat = (values, axes) => {
    if (axes.length < 3) return values;
    const size = axes[0].nbins * axes[1].nbins;
    const out = new Float64Array(size);
    for (let i = 0; i < values.length; i += 1) out[i % size] += values[i];
    return out;
  };

  const lsPictures = (content, parts, runParts, lumi) => {
    const { axes } = content;
    const profile = content.storage.includes("Profile");
    if (axes.length === 1) {
      const original = Float64Array.from(parts.original);
      const curves = [{ name: `LS ${lumi}`, kind: "original", values: original }];
      if (parts.reconstruction) curves.push({ name: "reconstruction", kind: "reconstruction", values: parts.reconstruction });
      if (runParts.reference) curves.push({ name: profile ? "reference" : "reference, same sum", kind: "reference", values: profile ? runParts.reference : scaled(runParts.reference, original) });
      const out = [dqmroot.curvesFigure("Original, reconstruction and reference", curves, axes[0])];
      if (parts.loss) out.push(dqmroot.curvesFigure("Loss per bin", [{ name: "loss", kind: "loss", values: parts.loss }], axes[0]));
      return out;
    }
    const maps = [["Original", parts.original, "counts"], ["Reconstruction", parts.reconstruction, "counts"], ["Loss per bin", parts.loss, "loss"], ["Reference: mean of good LS", runParts.reference, "counts"]];
    const shown = maps.filter(([, values]) => values).map(([name, values, palette]) => [name, flat(values, axes), palette]);
    const range = shared(shown.filter(([, , palette]) => palette === "counts").map(([, values]) => dqmroot.stats(values)));
    return shown.map(([name, values, palette]) => dqmroot.mapFigure(name, values, axes, dqmroot.palettes[palette], false, palette === "counts" ? range : null));
  };

  /** One range of colours for maps that are alike in size, so that they can be compared; null where they are not. */
  const shared = (all) => {
    const low = Math.min(...all.map((one) => one.low)), high = Math.max(...all.map((one) => one.high));
    return all.every((one) => one.high * 4 >= high && one.low >= -0.1 * high) ? { low, high } : null;
  };

  const grid = (figures) => h("div", { class: figures.length === 3 ? "pictures three" : "pictures" }, ...figures);

  const worstBins = (content, parts) => {
    const { axes } = content;
    if (!parts.loss || axes.length > 2) return null;
    const order = [...parts.loss.keys()].filter((i) => parts.loss[i] > 0).sort((a, b) => parts.loss[b] - parts.loss[a]).slice(0, 8);
    if (!order.length) return null;
    const nx = axes[0].nbins;
    const head = [dqmroot.title(axes[0], "x"), ...(axes.length > 1 ? [dqmroot.title(axes[1], "y")] : []), "original", "reconstruction", "loss"];
    return h("details", {}, h("summary", {}, "The bins with the largest loss"), h("table", { class: "numbers" },
      h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...order.map((i) => h("tr", {}, h("td", {}, dqmroot.bin(axes[0], i % nx)), axes.length > 1 && h("td", {}, dqmroot.bin(axes[1], Math.floor(i / nx))),
        h("td", {}, dqmroot.show(parts.original[i])), h("td", {}, parts.reconstruction ? dqmroot.show(parts.reconstruction[i], 4) : "\u2013"), h("td", {}, dqmroot.show(parts.loss[i], 4)))))));
  };

  const neighbours = async (content, run, me, lumi, choose) => {
    const kept = Object.keys(content.ls).map((key) => key.split("/").map(Number)).filter(([of]) => of === run.run).map(([, number]) => number).sort((a, b) => a - b);
    const near = kept.filter((number) => Math.abs(number - lumi) <= 5);
    const at = near.indexOf(lumi);
    const shown = at < 0 ? [] : near.slice(Math.max(0, at - 2), at + 3);
    if (shown.length < 2) return null;
    const words = { [BAD]: "bad", [dqmroot.GOOD]: "good" };
    const made = await Promise.all(shown.map(async (number) => {
      const { original } = await unpackAll({ original: content.ls[`${run.run}/${number}`].original });
      const told = `LS ${number}, ${words[dqmroot.cell(run, me, number).state] || "not judged"}`;
      const small = content.axes.length === 1
        ? dqmroot.curvesFigure(told, [{ name: told, kind: "original", values: original }], content.axes[0], true)
        : dqmroot.mapFigure(told, flat(original, content.axes), content.axes, dqmroot.palettes.counts, true);
      return h("button", { type: "button", class: "thumb", "aria-current": number === lumi ? "true" : "false", "aria-label": told, on: { click: () => choose(number) } }, small);
    }));
    return [h("h4", {}, "Neighbours in time"), h("div", { class: "thumbs" }, ...made)];
  };

  const perRun = (content, parts) => {
    const { axes } = content;
    const maps = [["Mean loss over the run", parts.mean_loss], ["Share of LS in which the bin is bad", parts.bad_fraction]].filter(([, values]) => values);
    if (!maps.length) return null;
    const drawn = maps.map(([name, values]) => (axes.length === 1 ? dqmroot.curvesFigure(name, [{ name, kind: "loss", values }], axes[0]) : dqmroot.mapFigure(name, flat(values, axes), axes, dqmroot.palettes.loss)));
    return h("details", {}, h("summary", {}, "The whole run, bin by bin"), h("div", { class: "pictures" }, ...drawn));
  };

  const rootLinks = (run, me) => {
    const file = (dqmroot.head.root || {})[run.run];
    const folder = `DQMData/Run ${run.run}/dqmroot/Run summary/${dqmroot.view.mes[me].root}`;
    const place = h("div", { class: "root-pictures" });
    return h("details", { class: "root" }, h("summary", {}, "ROOT objects"),
      h("p", {}, file ? h("a", { href: file.href }, file.name) : "In the DQM GUI file of this run", h("br"), h("code", {}, dqmroot.short(folder, 600))),
      file && file.carried && h("button", { type: "button", on: { click: (event) => {
        event.target.disabled = true;
        dqmroot.drawRoot(run.run, folder, place).catch((error) => place.append(h("p", {}, error.message)));
      } } }, "Draw with JSROOT"), place);
  };

  let turn = 0;

  /** Fill the section for one LS and one ME. */
  dqmroot.showWhy = async (run, lumi, me, choose) => {
    const mine = (turn += 1);
    const section = document.getElementById("why");
    const words = { 0: "good", 1: "bad", "-1": "not judged" };
    const verdict = words[run.verdict[dqmroot.column(run, lumi)]];
    const [before, after] = [dqmroot.nextBad(-1, lumi), dqmroot.nextBad(1, lumi)];
    const go = (to, text) => h("button", { type: "button", disabled: to === null, on: { click: () => choose(to, null) } }, text);
    const detail = h("div", { class: "detail", "aria-busy": "true" }, h("p", {}, "Loading\u2026"));
    section.hidden = false;
    delete section.dataset.shown;
    section.replaceChildren(
      h("div", { class: "bar" },
        h("h2", { id: "why-title" }, `Run ${run.run}, LS ${lumi} `, h("span", { class: `badge ${verdict.replace(" ", "-")}` }, verdict)),
        h("div", { class: "tools" }, go(before, "\u2190 previous bad"), go(after, "next bad \u2192"))),
      h("div", { class: "columns" },
        h("div", { class: "because" }, ...reasons(run, lumi, me, (other) => choose(lumi, other)).filter(Boolean)),
        detail));
    let content, parts, runParts;
    try {
      content = await load(me);
      [parts, runParts] = await Promise.all([unpackAll(content.ls[`${run.run}/${lumi}`]), unpackAll(content.runs[run.run])]);
    } catch (error) {
      detail.replaceChildren(h("p", { class: "notice" }, error.message));
      return;
    }
    if (mine !== turn) return;
    const cell = dqmroot.cell(run, me, lumi);
    const one = dqmroot.view.mes[me];
    const kept = Object.keys(content.ls).map((key) => key.split("/").map(Number)).filter(([of]) => of === run.run).map(([, number]) => number);
    const nearest = kept.sort((a, b) => Math.abs(a - lumi) - Math.abs(b - lumi))[0];
    const body = parts.original
      ? grid(lsPictures(content, parts, runParts, lumi))
      : h("p", { class: "notice" }, nearest === undefined ? "No pictures of this element were kept for this run. " : `Pictures are kept of bad lumisections, their neighbours and the worst of each run, not of this one. `,
        nearest !== undefined && h("button", { type: "button", on: { click: () => choose(nearest, me) } }, `Show LS ${nearest}, the nearest kept`));
    const extra = parts.original ? null : runParts.reference && (content.axes.length === 1
      ? dqmroot.curvesFigure("Reference: mean of good LS", [{ name: "reference", kind: "reference", values: runParts.reference }], content.axes[0])
      : dqmroot.mapFigure("Reference: mean of good LS", flat(runParts.reference, content.axes), content.axes, dqmroot.palettes.counts));
    const around = parts.original ? await neighbours(content, run, me, lumi, (to) => choose(to, me)) : null;
    if (mine !== turn) return;
    detail.removeAttribute("aria-busy");
    section.dataset.shown = `${run.run}/${lumi}/${me}`;
    detail.replaceChildren(...[
      h("h3", {}, dqmroot.name(one.name)),
      h("p", { class: "said" }, cell.state === ABSENT ? "No histogram in this lumisection." : `${dqmroot.words[cell.state]}${Number.isNaN(cell.score) ? "" : `: score ${dqmroot.show(cell.score)}${one.threshold === null ? "" : `, cut ${dqmroot.show(one.threshold)}`}`}`),
      body,
      extra && h("div", { class: "pictures" }, extra),
      worstBins(content, parts),
      ...(around || []),
      dqmroot.trendFigure(run, me, one.threshold, lumi, (to) => choose(to, me)),
      perRun(content, runParts),
      facts(me),
      rootLinks(run, me),
    ].filter(Boolean));
  };

  /** Draw score, flag and maps of an ME from the ROOT file that the report carries. */
  dqmroot.drawRoot = async (run, folder, place) => {
    const text = await dqmroot.load(`root-${run}`);
    if (!window.JSROOT) {
      await new Promise((resolve, reject) => {
        document.head.append(Object.assign(document.createElement("script"), { src: "jsroot.js", onload: resolve, onerror: () => reject(new Error("jsroot.js cannot be read")) }));
      });
    }
    window.JSROOT.settings.UseStamp = false;
    const file = await window.JSROOT.openFile(dqmroot.bytes(text).buffer);
    for (const name of ["score_vs_ls", "flag_vs_ls", "mean_loss", "worst_ls_original", "worst_ls_reconstruction", "worst_ls_loss"]) {
      const object = await file.readObject(`${folder}/${name}`).catch(() => null);
      if (object) {
        const box = h("div", { class: "root-picture" });
        place.append(box);
        await window.JSROOT.draw(box, object, object._typename.startsWith("TH2") ? "colz" : "hist");
      }
    }
    if (!place.children.length) place.append(h("p", {}, "The file holds no histogram of this element."));
  };
})();
