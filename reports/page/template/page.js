"use strict";
// The page without its samples: theme, sorting, filters, contents, and the address that holds the view.
const report = (() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);

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

  // The address: #place?off=method&length=512&q=niah&sort=table.column.up. A link inside the page keeps the filters.
  const state = { place: "", own: new URLSearchParams(), off: new Set(), lengths: new Set(), q: "", sorts: new Map() };
  const KEPT = ["off", "length", "q", "sort"];
  const parse = () => {
    const [place, query] = location.hash.slice(1).split("?", 2);
    const given = new URLSearchParams(query ?? "");
    try { state.place = decodeURIComponent(place); } catch { state.place = ""; }
    state.own = new URLSearchParams([...given].filter(([name]) => !KEPT.includes(name)));
    if (!KEPT.some((name) => given.has(name))) return;
    const numbers = given.getAll("off").map((label) => data.methods.indexOf(label)).filter((i) => i >= 0);
    state.off = new Set(numbers);
    state.lengths = new Set(given.getAll("length"));
    state.q = given.get("q") ?? "";
    for (const entry of given.getAll("sort")) {
      const [table, column, way] = entry.split(".");
      state.sorts.set(table, [Number(column), way]);
    }
  };
  const write = () => {
    const query = new URLSearchParams(state.own);
    for (const i of state.off) query.append("off", data.methods[i]);
    for (const length of state.lengths) query.append("length", length);
    if (state.q) query.set("q", state.q);
    for (const [table, [column, way]] of state.sorts) query.append("sort", `${table}.${column}.${way}`);
    const text = query.toString();
    history.replaceState(null, "", `#${state.place}${text ? `?${text}` : ""}`);
  };

  // Sorting: within each group of lines; places without a number stay last.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    if (cell.dataset.sort === undefined) return cell.classList.contains("num") ? null : cell.textContent.trim();
    const number = parseFloat(cell.dataset.sort);
    return Number.isNaN(number) ? null : number;
  };
  const sort = (table, column, way) => {
    const heads = table.tHead.rows[0].cells;
    if (!heads[column]) return;
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", way === "down" ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return way === "down" ? -order : order;
      });
      body.append(...rows);
    }
  };
  document.querySelectorAll("table.sortable").forEach((table, place) => {
    const id = (table.id || `t${place}`).replace(/^table-/, "").replaceAll(".", "_");
    table.dataset.sortId = id;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const way = now ? (now === "ascending" ? "down" : "up") : (head.classList.contains("num") ? "down" : "up");
        state.sorts.set(id, [column, way]);
        sort(table, column, way);
        write();
      });
    });
  });

  // Filters: methods, lengths and names of tests. Numbers do not change; marks and averages still count everything.
  const chips = [];
  const lengths = [...new Set([...document.querySelectorAll("[data-l]")].map((node) => node.dataset.l))].sort((a, b) => a - b);
  const search = make("input");
  const build = () => {
    const box = make("details");
    box.open = true;
    box.append(make("summary", "Filters"));
    const group = (title, entries) => {
      const set = make("fieldset");
      set.append(make("legend", title));
      const line = make("div", undefined, "chips");
      for (const [text, hidden, key, colour] of entries) {
        const chip = make("button");
        chip.type = "button";
        if (colour) chip.append(colour.cloneNode());
        chip.append(text);
        chip.addEventListener("click", () => { if (!hidden().delete(key)) hidden().add(key); write(); apply(); });
        chips.push([chip, hidden, key]);
        line.append(chip);
      }
      set.append(line);
      box.append(set);
    };
    const colours = data.methods.map((_, i) => document.querySelector(`#table-methods tr[data-m="${i}"] .dot`));
    group("Methods", data.methods.map((label, i) => [label, () => state.off, i, colours[i]]));
    if (lengths.length > 1) group("Lengths, tokens", lengths.map((l) => [Number(l).toLocaleString("en"), () => state.lengths, l]));
    const label = make("label", "Tests whose name holds");
    search.type = "search";
    search.placeholder = "niah, qa, …";
    search.addEventListener("input", () => { state.q = search.value; write(); apply(); });
    label.append(search);
    box.append(label);
    const reset = make("button", "Show all", "reset");
    reset.type = "button";
    reset.addEventListener("click", () => { state.off.clear(); state.lengths.clear(); state.q = ""; write(); apply(); });
    box.append(reset);
    document.getElementById("filters").append(box);
    const wide = matchMedia("(min-width: 78rem)");
    const fit = () => { box.open = wide.matches; };
    wide.addEventListener("change", fit);
    fit();
  };
  const apply = () => {
    for (const [chip, hidden, key] of chips) chip.setAttribute("aria-pressed", String(!hidden().has(key)));
    if (search.value !== state.q) search.value = state.q;
    const wanted = state.q.trim().toLowerCase();
    for (const node of document.querySelectorAll("[data-m], [data-l], [data-t]")) {
      const { m, l, t } = node.dataset;
      const off = (m !== undefined && state.off.has(Number(m))) || (l !== undefined && state.lengths.has(l)) ||
        (t !== undefined && wanted !== "" && !t.toLowerCase().includes(wanted));
      node.classList.toggle("off", off);
    }
    for (const table of document.querySelectorAll("table.sortable")) {
      const chosen = state.sorts.get(table.dataset.sortId);
      if (chosen) sort(table, ...chosen);
    }
  };

  // The contents show where the reader is.
  const links = [...document.querySelectorAll("nav a")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) links.forEach((a) => a.classList.toggle("here", a.hash === `#${entry.target.id}`));
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("main section").forEach((section) => seen.observe(section));

  // On paper everything is open.
  addEventListener("beforeprint", () => document.querySelectorAll("main details").forEach((box) => { box.open = true; }));

  const goto = () => {
    const place = state.place && document.getElementById(state.place);
    if (!place) return;
    for (let node = place; node; node = node.parentElement) if (node instanceof HTMLDetailsElement) node.open = true;
    place.scrollIntoView();
  };
  build();
  return { data, make, state, parse, write, apply, goto };
})();
