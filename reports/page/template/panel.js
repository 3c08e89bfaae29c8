"use strict";
// Samples: one cell, another method beside it, and the lists of wrong answers. Blocks are unpacked when they are needed.
(() => {
  const { data, make, state, parse, write, apply, goto } = report;
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");
  const title = document.getElementById("panel-h");
  const PAGE = 10;

  const unpacked = new Map();
  const unpack = (number) => {
    if (!unpacked.has(number)) unpacked.set(number, (async () => {
      const text = atob(document.getElementById(`block-${number}`).textContent);
      const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      return JSON.parse(await new Response(stream).text());
    })());
    return unpacked.get(number);
  };

  // Methods whose plans are equal at a length share one cell.
  const name = (cell) => cell.m.map((m) => data.methods[m] ?? m).join(" = ");
  const score = (cell, s) => (cell.u === "nats" ? `${s.toFixed(3)} nats per token` : `${(100 * s).toFixed(1)} %`);
  const count = (n) => n.toLocaleString("en");
  const group = (key) => {
    const cell = data.cells[key];
    const alike = Object.keys(data.cells).filter((k) => { const o = data.cells[k]; return o.t === cell.t && o.l === cell.l && o.s === cell.s; });
    return alike.sort((a, b) => data.cells[a].m[0] - data.cells[b].m[0]);
  };

  const picker = (words, chosen, entries, change) => {
    const label = make("label", `${words} `);
    const select = make("select");
    for (const [value, text] of entries) select.append(new Option(text, value, false, value === chosen));
    select.addEventListener("change", () => change(select.value));
    label.append(select);
    return label;
  };
  const marked = (text, references) => {
    const pre = make("pre");
    const words = (references ?? []).filter((word) => word);
    let rest = text;
    while (words.length) {
      const found = words.map((word) => [rest.indexOf(word), word]).filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0] || b[1].length - a[1].length)[0];
      if (!found) break;
      pre.append(rest.slice(0, found[0]), make("mark", found[1]));
      rest = rest.slice(found[0] + found[1].length);
    }
    pre.append(rest);
    return pre;
  };
  const answer = (cell, own, at) => {
    const s = own.s[at];
    const box = make("div", undefined, cell.u === "nats" ? "" : s >= 1 ? "right" : "wrong");
    const more = [own.f[at] && `failure: ${own.f[at]}`, own.c.includes(at) && "ended by the token budget"].filter(Boolean).join(", ");
    const head = make("h4");
    head.append(make("b", name(cell)), s === null ? " – not answered" : ` – ${score(cell, s)}${more ? ` (${more})` : ""}`);
    box.append(head);
    if (cell.u !== "nats" && own.g[at] !== null) box.append(make("pre", own.g[at] === "" ? "(empty)" : own.g[at]));
    return box;
  };

  const show = async (key) => {
    const cell = data.cells[key];
    const cells = group(key);
    const own = state.own;
    const change = (name_, value) => { value ? own.set(name_, value) : own.delete(name_); if (name_ !== "from") own.delete("from"); write(); show(key); };
    title.textContent = `${name(cell)} · ${cell.t} · ${count(cell.l)} tokens · seed ${cell.s}`;
    const parts = [];
    const controls = make("div", undefined, "controls");
    const label = (k) => name(data.cells[k]) + (data.cells[k].st === "done" ? "" : ` (${data.cells[k].st})`);
    controls.append(picker("Method", key, cells.map((k) => [k, label(k)]), (k) => { state.place = `cell-${k}`; if (own.get("beside") === k) own.delete("beside"); write(); show(k); }));
    const other = cells.includes(own.get("beside")) && own.get("beside") !== key ? own.get("beside") : "";
    if (cells.length > 1) controls.append(picker("beside", other, [["", "none"], ...cells.filter((k) => k !== key).map((k) => [k, label(k)])], (k) => change("beside", k)));
    if (cell.st !== "done") {
      parts.push(controls, make("p", `${cell.st}: ${cell.why}`, cell.st === "failed" ? "stamp red" : "stamp amber"));
      if (cell.tb) { const box = make("div", undefined, "sample"); box.append(make("pre", cell.tb)); parts.push(box); }
      body.replaceChildren(...parts);
      open();
      return;
    }
    open();
    let block;
    try { block = await unpack(cell.b); } catch (error) {
      body.replaceChildren(controls, make("p", `The samples cannot be unpacked: ${error.message ?? error}. A browser of 2023 or later is needed.`, "stamp red"));
      return;
    }
    const mine = block.x[key];
    const theirs = other && data.cells[other].st === "done" ? block.x[other] : null;
    const right = (x, at) => x.s[at] >= 1;
    let chosen = block.i.map((_, at) => at).filter((at) => mine.s[at] !== null);
    const depth = parseFloat(own.get("depth"));
    if (!Number.isNaN(depth)) {
      const width = parseFloat(own.get("width")) || 0;
      const top = depth + width >= 1 ? 1.001 : depth + width;
      chosen = chosen.filter((at) => block.d[at] !== null && (width ? block.d[at] >= depth - 1e-6 && block.d[at] < top - 1e-6 : Math.abs(block.d[at] - depth) < 1e-3));
    }
    const scored = cell.u !== "nats";
    const kinds = [...new Set(chosen.map((at) => mine.f[at]).filter(Boolean))].sort();
    const filter = own.get("show") ?? "";
    const shows = [["", "all samples"], ["wrong", "not fully right"], ["right", "right"], ...(theirs ? [["differ", "where the two differ"], ["lost", `only ${label(other)} right`], ["won", `only ${label(key)} right`]] : []), ...kinds.map((kind) => [`is ${kind}`, `failure: ${kind}`])];
    if (scored) controls.append(picker("show", filter, shows, (value) => change("show", value)));
    parts.push(controls);
    if (!Number.isNaN(depth)) {
      const line = make("p", `Depth ${Math.round(100 * depth)} % only. `, "note");
      const all = make("a", "All depths");
      all.href = `#cell-${key}`;
      line.append(all);
      parts.push(line);
    }
    parts.push(make("p", `Mean ${score(cell, cell.mean)} over ${count(cell.n)} samples${cell.k === "control" ? "; a control, in no average" : ""}.`, "note"));
    if (theirs && scored) {
      const both = chosen.filter((at) => theirs.s[at] !== null);
      const tally = (a, b) => both.filter((at) => right(mine, at) === a && right(theirs, at) === b).length;
      const line = make("p", undefined, "versus");
      for (const [words, n] of [["both right", tally(true, true)], [`only ${label(key)}`, tally(true, false)], [`only ${label(other)}`, tally(false, true)], ["neither", tally(false, false)]]) {
        const one = make("span", `${words}: `);
        one.append(make("b", count(n)));
        line.append(one);
      }
      parts.push(line);
    }
    if (filter === "wrong") chosen = chosen.filter((at) => !right(mine, at));
    if (filter === "right") chosen = chosen.filter((at) => right(mine, at));
    if (filter.startsWith("is ")) chosen = chosen.filter((at) => mine.f[at] === filter.slice(3));
    if (theirs && filter === "differ") chosen = chosen.filter((at) => mine.s[at] !== theirs.s[at]);
    if (theirs && filter === "lost") chosen = chosen.filter((at) => !right(mine, at) && right(theirs, at));
    if (theirs && filter === "won") chosen = chosen.filter((at) => right(mine, at) && !right(theirs, at));
    const only = own.get("sample");
    if (only !== null && block.i.includes(Number(only))) chosen = [block.i.indexOf(Number(only))];
    // Samples with their texts come first; a large page keeps them for those on which methods disagree.
    chosen.sort((a, b) => (block.p[a] === null) - (block.p[b] === null) || a - b);
    const from = Math.min(Math.max(0, Number(own.get("from")) || 0), Math.max(0, chosen.length - 1));
    const pages = () => {
      const line = make("div", undefined, "pages");
      const step = (words, to, possible) => { const b = make("button", words); b.type = "button"; b.disabled = !possible; b.addEventListener("click", () => { change("from", String(to)); panel.scrollTop = 0; }); return b; };
      line.append(step("← earlier", Math.max(0, from - PAGE), from > 0), `${chosen.length ? from + 1 : 0} to ${Math.min(from + PAGE, chosen.length)} of ${count(chosen.length)}`, step("later →", from + PAGE, from + PAGE < chosen.length));
      return line;
    };
    parts.push(pages());
    for (const at of chosen.slice(from, from + PAGE)) {
      const box = make("div", undefined, "sample");
      const head = make("h3");
      const link = make("a", `Sample ${block.i[at]}`);
      link.href = `#cell-${key}?sample=${block.i[at]}${other ? `&beside=${other}` : ""}`;
      const facts = [block.n[at] && `${count(block.n[at])} prompt tokens`, block.d[at] !== null && `depth ${Math.round(100 * block.d[at])} %`].filter(Boolean);
      head.append(link, make("small", facts.join(" · ")));
      box.append(head);
      const kept = block.p[at] !== null || mine.g[at] !== null;
      if (block.p[at]) box.append(marked(block.p[at], block.a[at]));
      if (!kept) box.append(make("p", `This page keeps no text of this sample, to stay small; it is in the store, in cells/${key}.json.`, "note"));
      const answers = make("div", undefined, "answers");
      if (scored && block.a[at]?.length) {
        const reference = make("div");
        reference.append(make("h4", "Reference"), make("pre", block.a[at].join(" | ")));
        answers.append(reference);
      }
      answers.append(answer(cell, mine, at));
      if (theirs) answers.append(answer(data.cells[other], theirs, at));
      box.append(answers);
      parts.push(box);
    }
    if (chosen.length > PAGE) parts.push(pages());
    body.replaceChildren(...parts);
  };

  const wrong = (method, length) => {
    title.textContent = `Wrong answers · ${data.methods[method]} · ${count(length)} tokens`;
    const kinds = new Map();
    for (const [key, cell] of Object.entries(data.cells)) {
      if (!cell.m.includes(method) || cell.l !== length || ["short", "control"].includes(cell.k) || cell.st !== "done") continue;
      for (const [kind, n] of Object.entries(cell.f)) { if (!kinds.has(kind)) kinds.set(kind, []); kinds.get(kind).push([n, key, cell]); }
    }
    const parts = [];
    for (const [kind, entries] of [...kinds].sort((a, b) => a[0].localeCompare(b[0]))) {
      parts.push(make("h3", kind));
      const list = make("ul", undefined, "list");
      for (const [n, key, cell] of entries.sort((a, b) => b[0] - a[0])) {
        const line = make("li");
        const link = make("a", `${cell.t}`);
        link.href = `#cell-${key}?show=${encodeURIComponent(`is ${kind}`)}`;
        line.append(link, ` – ${count(n)} of ${count(cell.n)} answers`);
        list.append(line);
      }
      parts.push(list);
    }
    if (!parts.length) parts.push(make("p", "No wrong answer has a class here.", "nothing"));
    body.replaceChildren(...parts);
    open();
  };

  let back = null;
  const open = () => {
    if (panel.open) return;
    back = document.activeElement;
    panel.showModal();
    panel.scrollTop = 0;
  };
  const follow = () => {
    parse();
    write();
    apply();
    const cell = state.place.startsWith("cell-") && state.place.slice(5);
    const list = state.place.match(/^wrong-(\d+)-(\d+)$/);
    if (cell && Object.hasOwn(data.cells, cell)) { panel.scrollTop = 0; show(cell); return; }
    if (list && data.methods[Number(list[1])] !== undefined) { wrong(Number(list[1]), Number(list[2])); return; }
    if (panel.open) panel.close();
    goto();
  };
  panel.addEventListener("close", () => {
    if (/^(cell|wrong)-/.test(state.place)) { state.place = ""; state.own = new URLSearchParams(); write(); }
    if (back instanceof HTMLElement) back.focus();
  });
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  document.getElementById("close").addEventListener("click", () => panel.close());
  panel.addEventListener("keydown", (event) => {
    if (event.target.closest("select, input")) return;
    const press = { ArrowRight: ".pages button:last-child", ArrowLeft: ".pages button:first-child" }[event.key];
    if (press) body.querySelector(press)?.click();
  });
  addEventListener("hashchange", follow);
  follow();
})();
