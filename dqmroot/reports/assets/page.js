/* The page: runs, tables, choices, and the address that names what is shown. */
"use strict";

(() => {
  const { h, BAD } = dqmroot;
  const { view } = dqmroot;
  const find = (id) => document.getElementById(id);
  const MOST_STRETCHES = 40;
  const MOST_NAMES = 3;

  const fail = (error) => {
    find("failure").hidden = false;
    find("failure").textContent = `This report is incomplete: ${error.message}`;
  };

  const counts = (runs) => {
    const sum = (key) => runs.reduce((total, run) => total + run[key], 0);
    const [good, bad, silent] = ["good", "bad", "not_judged"].map(sum);
    const entry = (name, value, kind) => h("div", { class: kind }, h("dt", {}, name), h("dd", {}, value.toLocaleString("en")));
    find("counts").replaceChildren(entry("good", good, "good"), entry("bad", bad, "bad"), entry("not judged", silent, "none"), entry("lumisections", good + bad + silent, ""), entry("runs", runs.length, ""));
  };

  const bar = (line) => {
    const all = line.good + line.bad + line.not_judged;
    const part = (kind, n) => n > 0 && h("i", { class: kind, style: `width:${Math.max((n / all) * 100, 0.8)}%` });
    return h("span", { class: "share", "aria-hidden": "true" }, part("bad", line.bad), part("none", line.not_judged), part("good", line.good));
  };

  const head = (names) => h("thead", {}, h("tr", {}, ...names.map((text) => h("th", { scope: "col" }, text))));

  const runTable = (runs) => {
    if (runs.length < 2) return;
    find("runs").hidden = false;
    find("run-table").replaceChildren(head(["run", "LS", "", "bad", "good", "not judged"]), h("tbody", {}, ...runs.map((line) => h("tr", { "data-run": line.run },
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => go({ run: line.run }) } }, String(line.run))),
      h("td", {}, `${line.first} to ${line.last}`), h("td", { class: "grow" }, bar(line)), h("td", {}, line.bad), h("td", {}, line.good), h("td", {}, line.not_judged)))));
  };

  /* ---- the run ---- */

  const unpackRun = async (number) => {
    const raw = await dqmroot.load(`run-${number}`);
    const [lumi, verdict, state, score] = (await Promise.all([raw.lumi, raw.verdict, raw.state, raw.score].map(dqmroot.unpack))).map((one) => one.values);
    const first = lumi[0], last = lumi[lumi.length - 1], n = lumi.length;
    const at = new Int32Array(last - first + 1).fill(-1);
    lumi.forEach((number_, i) => { at[number_ - first] = i; });
    const nBad = new Uint16Array(n);
    const badOf = new Uint32Array(view.mes.length);
    for (let me = 0; me < view.mes.length; me += 1) {
      for (let i = 0; i < n; i += 1) {
        if (state[me * n + i] === BAD) {
          nBad[i] += 1;
          badOf[me] += 1;
        }
      }
    }
    const lanes = await Promise.all(raw.lanes.map(async (lane) => {
      if (lane.bits) return { name: lane.name, bits: (await dqmroot.unpack(lane.bits)).values };
      const numbers = (await dqmroot.unpack(lane.numbers)).values;
      return { name: lane.name, numbers, ...dqmroot.stats(numbers) };
    }));
    const line = dqmroot.head.runs.find((one) => one.run === number);
    return { run: number, lumi, verdict, state, score, reasons: raw.reasons, lanes, first, last, at, nBad, badOf, nBadMost: nBad.reduce((most, k) => Math.max(most, k), 0), told: `${line.bad} bad, ${line.good} good, ${line.not_judged} not judged` };
  };

  const runs = new Map();
  const runOf = (number) => {
    if (!runs.has(number)) runs.set(number, unpackRun(number));
    return runs.get(number);
  };

  const order = () => {
    const text = find("find").value.trim().toLowerCase();
    const chosen = view.mes.map((_, i) => i).filter((i) => !text || view.mes[i].name.toLowerCase().includes(text));
    const byName = (a, b) => (view.mes[a].name < view.mes[b].name ? -1 : view.mes[a].name > view.mes[b].name ? 1 : a - b);
    if (find("order").value === "name") chosen.sort(byName);
    else if (view.run) chosen.sort((a, b) => view.run.badOf[b] - view.run.badOf[a] || byName(a, b));
    const kept = view.order[view.row];
    view.order = chosen;
    view.row = Math.max(0, chosen.indexOf(kept));
    meTable();
    dqmroot.draw();
  };

  const stretches = (run) => {
    const out = [];
    run.lumi.forEach((lumi, i) => {
      if (run.verdict[i] !== BAD) return;
      const last = out[out.length - 1];
      if (last && last.end === i - 1 && run.lumi[i - 1] === lumi - 1) last.end = i;
      else out.push({ start: i, end: i });
    });
    const n = run.lumi.length;
    return out.map(({ start, end }) => {
      // Who was bad in this stretch, how often, and in which LS most.
      const found = [];
      view.mes.forEach((_, me) => {
        let times = 0, worst = -1;
        for (let i = start; i <= end; i += 1) {
          if (run.state[me * n + i] !== BAD) continue;
          times += 1;
          if (worst < 0 || run.score[me * n + i] > run.score[me * n + worst]) worst = i;
        }
        if (times) found.push({ me, times, lumi: run.lumi[worst], score: run.score[me * n + worst] });
      });
      found.sort((a, b) => b.times - a.times || a.me - b.me);
      return { first: run.lumi[start], last: run.lumi[end], found };
    });
  };

  const badList = (run) => {
    const all = stretches(run);
    const row = ({ first, last, found }) => {
      const name = first === last ? `LS ${first}` : `LS ${first} to ${last}`;
      const open = (one) => choose(one ? one.lumi : first, one ? one.me : null, true);
      const who = found.slice(0, MOST_NAMES).map((one) => h("li", {}, h("button", { type: "button", class: "link", on: { click: () => open(one) } }, dqmroot.name(view.mes[one.me].name, 120)),
        h("span", { class: "notice" }, ` in ${one.times} LS, worst ${one.lumi}: score ${dqmroot.show(one.score, 4)} above ${dqmroot.show(view.mes[one.me].threshold, 4)}`)));
      const more = found.length > MOST_NAMES && h("li", { class: "notice" }, `and ${found.length - MOST_NAMES} more`);
      return h("tr", {}, h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => open(found[0]) } }, name)),
        h("td", {}, last - first + 1), h("td", {}, found.length), h("td", { class: "grow" }, h("ul", { class: "names" }, ...who, more)));
    };
    if (!all.length) {
      find("bad-list").replaceChildren(h("p", {}, `Run ${run.run} has no bad lumisection.`));
      return;
    }
    const body = h("tbody", {}, ...all.slice(0, MOST_STRETCHES).map(row));
    const rest = all.length - MOST_STRETCHES;
    find("bad-list").replaceChildren(...[
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "bad-title" }, h("table", {}, head(["lumisections", "LS", "bad elements", "which, most often bad first"]), body)),
      rest > 0 && h("button", { type: "button", class: "quiet", on: { click: (event) => {
        body.append(...all.slice(MOST_STRETCHES).map(row));
        event.target.remove();
      } } }, `show ${rest} more`),
    ].filter(Boolean));
  };

  const meTable = () => {
    const { run } = view;
    if (!run) return;
    find("me-table").replaceChildren(head(["name", "bad in this run", "cut", "expected false rate", "detector", "trained on"]), h("tbody", {}, ...view.order.map((me) => {
      const one = view.mes[me];
      const sample = one.model.sample || {};
      return h("tr", {}, h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => choose(dqmroot.worstLs(run, me), me, true) } }, dqmroot.name(one.name, 160))),
        h("td", {}, run.badOf[me]), h("td", {}, one.threshold === null ? "none" : dqmroot.show(one.threshold)),
        h("td", {}, one.expected_false_rate === null ? "\u2013" : `${dqmroot.show(one.expected_false_rate * 100, 3)} %`),
        h("td", {}, one.model.detector || "\u2013"), h("td", {}, sample.n ? `${sample.n} LS` : "\u2013"));
    })));
  };

  const legend = () => {
    const theme = dqmroot.theme();
    const entries = view.colour === "score"
      ? [[dqmroot.palettes.counts()(0), "a tenth of the cut"], [dqmroot.palettes.counts()(0.5), "at the cut"], [dqmroot.palettes.counts()(1), "ten times the cut"], [theme.none, "no score"]]
      : [[theme.good, "good"], [theme.bad, "bad"], [theme.none, "not judged"], [theme.absent, "no histogram"]];
    const css = (colour) => (Array.isArray(colour) ? `rgb(${colour.join(" ")})` : colour);
    find("legend").replaceChildren(...entries.map(([colour, text]) => h("span", {}, h("i", { style: `background:${css(colour)}` }), text)));
  };

  const made = () => {
    const { head: data } = dqmroot;
    const inputs = data.inputs.map((entry) => h("li", {}, h("code", {}, dqmroot.short(Object.entries(entry).map(([key, value]) => `${key} ${value}`).join(", "), 500))));
    const link = Object.keys(data.root || {});
    find("made-list").replaceChildren(...[
      h("dl", { class: "facts" },
        h("dt", {}, "Rule"), h("dd", {}, `${data.rule} of ${dqmroot.count(data.mes.length, "monitoring element")}`),
        h("dt", {}, "Written"), h("dd", {}, `${data.made} by dqmroot ${data.version}`),
        h("dt", {}, "Pictures"), h("dd", {}, data.left_out ? `of bad lumisections and their neighbours; ${data.left_out.toLocaleString("en")} left out to keep this folder small` : "of bad lumisections, their neighbours, and the worst of each run"),
        ...(link.length ? [h("dt", {}, "DQM GUI files"), h("dd", {}, ...link.map((run) => h("a", { href: data.root[run].href, class: "spaced" }, data.root[run].name)))] : [])),
      inputs.length > 0 && h("details", {}, h("summary", {}, dqmroot.count(data.n_inputs, "input file")), h("ul", { class: "plain" }, ...inputs)),
    ].filter(Boolean));
  };

  /* ---- choices and the address ---- */

  const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const go = (to) => {
    location.hash = new URLSearchParams(Object.entries(to).map(([key, value]) => [key, String(value)])).toString();
  };

  /** Show why an LS got its verdict; without an ME, by the one that speaks loudest. */
  const choose = (lumi, me, move = false) => {
    moveOn = move || moveOn;
    go({ run: view.run.run, ls: lumi, me: me === null || me === undefined ? dqmroot.worstMe(view.run, lumi) : me });
  };
  let moveOn = false;

  const follow = async () => {
    try {
      const to = address();
      const all = dqmroot.head.runs;
      const line = all.find((one) => String(one.run) === to.run) || all.reduce((most, one) => (one.bad > most.bad ? one : most));
      const run = await runOf(line.run);
      if (view.run !== run) {
        dqmroot.showRun(run);
        find("run-title").textContent = `Run ${run.run}`;
        for (const row of document.querySelectorAll("#run-table [data-run]")) row.setAttribute("aria-current", String(row.dataset.run === String(run.run)));
        find("why").hidden = true;
        order();
        badList(run);
      }
      const lumi = Number(to.ls);
      if (!to.ls || dqmroot.column(run, lumi) < 0) return;
      const me = to.me in view.mes ? Number(to.me) : dqmroot.worstMe(run, lumi);
      const row = view.order.indexOf(me);
      dqmroot.point(lumi, row < 0 ? view.row : row);
      await dqmroot.showWhy(run, lumi, me, choose);
      const why = find("why");
      if (moveOn) why.focus({ preventScroll: true });
      if (moveOn || why.getBoundingClientRect().top > window.innerHeight * 0.75) why.scrollIntoView({ behavior: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
      moveOn = false;
    } catch (error) {
      fail(error);
    }
  };

  const start = async () => {
    try {
      if (!("DecompressionStream" in window)) throw new Error("this browser is too old to unpack it (Chromium 80, Firefox 113 or Safari 16.4 is needed)");
      dqmroot.head = await dqmroot.load("overview");
    } catch (error) {
      fail(error);
      return;
    }
    view.mes = dqmroot.head.mes;
    view.select = choose;
    view.say = (text) => { find("live").textContent = text; };
    counts(dqmroot.head.runs);
    runTable(dqmroot.head.runs);
    made();
    dqmroot.startMap();
    legend();
    dqmroot.onTheme(legend);
    find("find").addEventListener("input", order);
    find("order").addEventListener("change", order);
    find("colour").addEventListener("change", (event) => { view.colour = event.target.value; legend(); dqmroot.draw(); });
    find("rows").addEventListener("change", (event) => { view.rows = event.target.value; dqmroot.draw(); });
    find("zoom-in").addEventListener("click", () => dqmroot.zoom(0.5));
    find("zoom-out").addEventListener("click", () => dqmroot.zoom(2));
    find("zoom-all").addEventListener("click", dqmroot.zoomAll);
    window.addEventListener("hashchange", follow);
    await follow();
    document.documentElement.dataset.ready = "yes";
  };

  start();
})();
