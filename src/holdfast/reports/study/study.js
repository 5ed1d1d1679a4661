"use strict";
// The upper part of a study's page: which recipes are shown and in which order, and which run is looked at.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("study").textContent);
  const inPage = JSON.parse($("index").textContent).recipes.map((run) => run.name);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  if (!$("controls")) return;
  const place = new Map(data.runs.key.map((key, i) => [key, i]));
  const number = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
  const signed = (value) => (value === null || value === undefined ? "–" : `${value > 0 ? "+" : ""}${number(value)}`);

  // ---- addresses: this part of the page owns these words ----------------------------------------------------------
  const address = () => new URLSearchParams(location.hash.slice(1));
  const OWN = ["view", "find", "sort", "without"];
  const readState = () => {
    const parts = address();
    const levels = {};
    for (const [name, value] of parts) if (name.startsWith("is.")) levels[name.slice(3)] = value;
    const sort = parts.get("sort") ?? "";
    return { view: parts.get("view") ?? "all", find: parts.get("find") ?? "", sort, without: (parts.get("without") ?? "").split(",").filter(Boolean), levels };
  };
  const write = () => {
    const parts = address();
    for (const name of [...parts.keys()]) if (OWN.includes(name) || name.startsWith("is.")) parts.delete(name);
    if (state.view !== "all") parts.set("view", state.view);
    if (state.find) parts.set("find", state.find);
    if (state.sort) parts.set("sort", state.sort);
    if (state.without.length) parts.set("without", state.without.join(","));
    for (const [factor, level] of Object.entries(state.levels)) if (level) parts.set(`is.${factor}`, level);
    const text = parts.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };
  let state = readState();

  // ---- filter and view --------------------------------------------------------------------------------------------
  const words = () => state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (recipe) => words().every((word) => recipe.name.toLowerCase().includes(word))
    && !state.without.includes(recipe.paradigm)
    && Object.entries(state.levels).every(([factor, level]) => !level || recipe.levels[factor] === level);
  const filter = () => {
    const kept = data.recipes.map(wanted);
    for (const node of all("[data-recipe]")) node.classList.toggle("out", !kept[Number(node.dataset.recipe)]);
    const count = kept.filter(Boolean).length;
    document.body.classList.toggle("filtered", count < kept.length);
    $("shown").textContent = count < kept.length ? `${count} of ${kept.length} recipes` : "";
  };
  const show = () => {
    const known = all("[data-view]").some((part) => part.dataset.view === state.view);
    for (const part of all("[data-view]")) part.hidden = part.dataset.view !== (known ? state.view : "all");
  };
  const controls = () => {
    if ($("view")) $("view").value = state.view;
    if (document.activeElement !== $("find")) $("find").value = state.find;
    for (const box of all("[data-paradigm]")) box.checked = !state.without.includes(box.dataset.paradigm);
    for (const pick of all("[data-factor]")) pick.value = state.levels[pick.dataset.factor] ?? "";
  };

  // ---- sorting ----------------------------------------------------------------------------------------------------
  const heads = all("#table thead th");
  const names = heads.map((head) => head.firstElementChild.dataset.sort);
  const original = new Map(all("#table tbody tr").map((row, i) => [row, i]));
  const sort = () => {
    const down = state.sort.startsWith("-");
    const at = names.indexOf(state.sort.replace(/^-/, ""));
    heads.forEach((head, i) => { if (i === at) head.setAttribute("aria-sort", down ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); });
    const value = (row) => { const text = row.children[at].dataset.value; return at ? Number(text) : text; };
    const order = (a, b) => (at ? value(a) - value(b) : value(a).localeCompare(value(b), "en", { numeric: true })) * (down ? -1 : 1);
    for (const body of all("#table tbody")) {
      const rows = [...body.children].sort((a, b) => (at < 0 ? 0 : order(a, b)) || original.get(a) - original.get(b));
      body.append(...rows);
    }
  };

  // ---- one run ----------------------------------------------------------------------------------------------------
  const nameOf = (i) => [data.runs.on[i], data.runs.seed[i] && `seed ${data.runs.seed[i]}`].filter(Boolean).join(", ") || "the run";
  const chosen = () => {
    const key = address().get("run");
    return place.has(key) ? key : inPage[0] ?? data.runs.key[0];
  };
  const drawRun = () => {
    const key = chosen();
    const i = place.get(key);
    const runs = data.runs;
    const recipe = runs.recipe[i];
    $("run-name").textContent = data.recipes[recipe].name;
    const own = runs.key.filter((_, j) => runs.recipe[j] === recipe);
    $("run-others").replaceChildren(...own.slice(0, 400).map((other) => {
      const link = document.createElement("a");
      link.href = `#run=${other}`;
      link.textContent = nameOf(place.get(other));
      if (other === key) link.setAttribute("aria-current", "true");
      return link;
    }));
    const facts = [`E ${signed(runs.E[i])}`, `F ${signed(runs.F[i])}`, `O ${signed(runs.O[i])}`, `H ${number(runs.H[i])}`, `${runs.learned[i] ?? "–"} learned, ${runs.forgot[i] ?? "–"} forgot`];
    if (runs.seconds[i] !== null) facts.push(`${number(runs.seconds[i], 0)} s of training`);
    $("run-facts").textContent = `${facts.join(" · ")} · ${runs.place[i]}`;
    for (const part of all("[data-run]")) part.hidden = part.dataset.run !== key;
    const inside = inPage.includes(key);
    if ($("items")) $("items").hidden = !inside;
    const note = $("run-elsewhere");
    note.hidden = inside;
    if (!inside) {
      note.textContent = "The items of this run are not in this page, to keep it small. ";
      if (runs.page[i]) {
        const link = document.createElement("a");
        link.href = runs.page[i];
        link.textContent = "Open the page of the run";
        note.append(link, ".");
      } else note.append(`holdfast compare, given the folder ${runs.place[i]}, shows them.`);
    }
    for (const row of all("tr.chosen")) row.classList.remove("chosen");
    for (const row of all(`tr[data-recipe="${recipe}"]`)) row.classList.add("chosen");
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#run="]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const parts = address();
    for (const name of ["list", "query", "kind", "swap", "cell", "item", "page"]) parts.delete(name);
    if (parts.has("run") && data.runs.on[place.get(parts.get("run"))] !== data.runs.on[place.get(link.getAttribute("href").slice(5))]) parts.delete("task");
    parts.set("run", link.getAttribute("href").slice(5));
    if (location.hash === `#${parts}`) $("run").scrollIntoView({ behavior: "smooth" });
    else location.hash = `#${parts}`;
  });

  // Jumps leave the address alone: what stands in it is the view.
  for (const link of all("[data-jump]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      $(link.getAttribute("href").slice(1))?.scrollIntoView({ behavior: "smooth" });
    });
  }

  // ---- events -----------------------------------------------------------------------------------------------------
  const change = () => { write(); controls(); show(); filter(); };
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("view")?.addEventListener("change", (event) => { state.view = event.target.value; change(); });
  let typing = 0;
  $("find").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.find = event.target.value.trim(); change(); }, 120);
  });
  for (const box of all("[data-paradigm]")) {
    box.addEventListener("change", () => { state.without = all("[data-paradigm]").filter((b) => !b.checked).map((b) => b.dataset.paradigm); change(); });
  }
  for (const pick of all("[data-factor]")) pick.addEventListener("change", () => { state.levels[pick.dataset.factor] = pick.value; change(); });
  for (const head of heads) {
    head.firstElementChild.addEventListener("click", () => {
      const name = head.firstElementChild.dataset.sort;
      // Figures begin with the largest, names with the first; a third click gives the order of the study back.
      const turns = name === "recipe" ? [name, `-${name}`, ""] : [`-${name}`, name, ""];
      state.sort = turns[(turns.indexOf(state.sort) + 1) % 3];
      write();
      sort();
    });
  }
  let last = "";
  const read = (scroll) => {
    state = readState();
    controls();
    show();
    filter();
    sort();
    drawRun();
    const run = address().get("run") ?? "";
    if (scroll && run && run !== last && !address().has("item")) $("run").scrollIntoView({ behavior: scroll });
    last = run;
  };
  addEventListener("hashchange", () => read("smooth"));
  read("instant");
})();
