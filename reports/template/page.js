"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;

  // Every text of a model enters the page here, as text and never as markup.
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  // Theme: the system's until the button is pressed. A page opened from disk may have no storage.
  const remember = (value) => { try { localStorage.setItem("ropebench-theme", value); } catch { /* not remembered */ } };
  const recall = () => { try { return localStorage.getItem("ropebench-theme"); } catch { return null; } };
  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });

  // Sorting: within each group of lines; places without a number stay last.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim();
    const number = parseFloat(cell.dataset.sort);
    return Number.isNaN(number) ? null : number;
  };
  const sort = (table, head, column) => {
    const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : column > 0;
    table.querySelectorAll("thead th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        const order = typeof x === "number" ? x - y : x.localeCompare(y);
        return down ? -order : order;
      });
      body.append(...rows);
    }
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, column));
    });
  });

  // Samples of one cell, with those of another method beside them.
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");
  // Methods whose plans are equal at a length share one cell.
  const name = (cell) => cell.m.map((m) => data.methods[m] ?? m).join(" = ");
  const score = (cell, s) => (cell.u === "nats" ? `${s.toFixed(3)} nats per token` : `${(100 * s).toFixed(1)} %`);
  const beside = (key) => {
    const cell = data.cells[key];
    return Object.keys(data.cells).filter((other) => {
      const o = data.cells[other];
      return other !== key && o.t === cell.t && o.l === cell.l && o.s === cell.s;
    });
  };
  const marked = (text, needle) => {
    const pre = make("pre");
    const at = needle ? text.indexOf(needle) : -1;
    if (at < 0) { pre.textContent = text; return pre; }
    pre.append(text.slice(0, at), make("mark", needle), text.slice(at + needle.length));
    return pre;
  };
  const answer = (cell, row) => {
    const box = make("div");
    const more = [row.f && `failure: ${row.f}`, row.cut && "ended by the token budget"].filter(Boolean).join(", ");
    box.append(make("h4", `${name(cell)} – ${score(cell, row.s)}${more ? ` (${more})` : ""}`));
    if (cell.u !== "nats") box.append(make("pre", row.g ?? "(empty)"));
    return box;
  };
  const show = (key, otherKey) => {
    const cell = data.cells[key];
    const other = data.cells[otherKey];
    document.getElementById("panel-h").textContent = `${name(cell)} · ${cell.t} · ${cell.l.toLocaleString("en")} tokens · seed ${cell.s}`;
    body.replaceChildren();
    if (cell.st !== "done") {
      body.append(make("p", `${cell.st}: ${cell.why}`, "stamp red"));
      if (cell.tb) { const box = make("div", undefined, "sample"); box.append(make("pre", cell.tb)); body.append(box); }
    } else {
      body.append(make("p", `Mean ${score(cell, cell.mean)}, n = ${cell.n}. Shown: ${cell.r.length} of ${cell.n} samples, those on which methods disagree most.`, "note"));
    }
    const controls = make("div", undefined, "controls");
    const picker = (title, chosen, keys, empty, change) => {
      const label = make("label", `${title} `);
      const select = make("select");
      if (empty) select.append(new Option(empty, ""));
      keys.forEach((k) => select.append(new Option(name(data.cells[k]) + (data.cells[k].st === "done" ? "" : ` (${data.cells[k].st})`), k, false, k === chosen)));
      select.addEventListener("change", () => change(select.value));
      label.append(select);
      controls.append(label);
    };
    const group = Object.keys(data.cells).filter((k) => k === key || beside(key).includes(k));
    group.sort((a, b) => data.cells[a].m[0] - data.cells[b].m[0]);
    picker("Method", key, group, "", (k) => { history.replaceState(null, "", `#cell-${k}`); show(k, otherKey === k ? undefined : otherKey); });
    if (group.length > 1) picker("beside", otherKey, group.filter((k) => k !== key), "none", (k) => show(key, k || undefined));
    body.append(controls);
    for (const row of cell.r ?? []) {
      const box = make("div", undefined, "sample");
      const head = make("h3", `Sample ${row.i}`);
      const facts = [row.n && `${row.n.toLocaleString("en")} prompt tokens`, row.d !== undefined && `depth ${Math.round(100 * row.d)} %`].filter(Boolean);
      head.append(make("small", facts.join(" · ")));
      box.append(head);
      if (row.p !== undefined && data.prompts[row.p]) box.append(marked(data.prompts[row.p], row.a && row.a.split(" | ")[0]));
      const answers = make("div", undefined, "answers");
      answers.append(answer(cell, row));
      const twin = other?.r?.find((r) => r.i === row.i);
      if (twin) answers.append(answer(other, twin));
      if (row.a !== undefined) {
        const reference = make("div");
        reference.append(make("h4", "Reference"), make("pre", row.a));
        answers.append(reference);
      }
      box.append(answers);
      body.append(box);
    }
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
  };
  const follow = () => {
    const target = decodeURIComponent(location.hash.slice(1));
    if (target.startsWith("cell-") && Object.hasOwn(data.cells, target.slice(5))) { show(target.slice(5)); return; }
    if (panel.open) panel.close();
    const place = target && document.getElementById(target);
    if (place instanceof HTMLDetailsElement) { place.open = true; place.scrollIntoView(); }
  };
  panel.addEventListener("close", () => {
    if (location.hash.startsWith("#cell-")) history.replaceState(null, "", location.pathname + location.search);
  });
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  document.getElementById("close").addEventListener("click", () => panel.close());
  addEventListener("hashchange", follow);
  follow();
})();
