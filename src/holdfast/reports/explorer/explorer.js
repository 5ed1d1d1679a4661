"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const index = JSON.parse($("index").textContent);
  if (!index.recipes.length) return;
  const KEY = index.key ?? "recipe";
  const OUTCOMES = index.outcomes;
  const LISTS = [...OUTCOMES, "all"];
  const ABOUT = { forgot: "Forgot", learned: "Learned", kept: "Kept", never: "Never right", all: "All" };
  const PAGE = 50;
  const state = { recipe: 0, task: 0, list: "forgot", query: "", kind: "", swap: "", cell: "", side: "after", mode: "list", page: 0, item: "" };
  const MODES = ["list", "gallery", "confusion"];
  const OWN = [KEY, "task", "list", "query", "kind", "swap", "cell", "side", "mode", "item", "page"];
  const blocks = new Map();
  let pictures = [];
  let view = { rows: [], shared: null, own: null };
  let turn = 0;

  // Text always enters the page as text; nothing from the predictions is ever parsed as HTML.
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  };

  const load = (name) => {
    if (!blocks.has(name)) blocks.set(name, read($(name)));
    return blocks.get(name);
  };
  const read = async (node) => {
    if (node.type !== "application/gzip") return JSON.parse(node.textContent);
    const bytes = Uint8Array.from(atob(node.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };

  const wide = () => !matchMedia("(max-width: 860px)").matches;
  const recipe = () => index.recipes[state.recipe];
  const task = () => recipe().tasks[state.task];
  const number = (value) => value.toLocaleString("en-GB");

  // ---- which rows -------------------------------------------------------------------------------------------------
  const words = () => state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const haystack = (own, shared) => {
    own.hay ??= own.answer.map((answer, i) =>
      `${shared.id[i]}\n${shared.question[i]}\n${shared.references[i].join("\n")}\n${shared.answer[i]}\n${answer}`.toLowerCase());
    return own.hay;
  };
  const formatOnly = (score, lenient) => lenient !== null && lenient !== undefined && lenient > score;
  const isKind = {
    format: (s, o, i) => formatOnly(o.score[i], o.lenient?.[i]) || formatOnly(s.score[i], s.lenient?.[i]),
    changed: (s, o, i) => s.answer[i] !== o.answer[i],
    same: (s, o, i) => s.answer[i] === o.answer[i],
    truncated: (s, o, i) => Boolean(s.truncated?.[i] || o.truncated?.[i]),
  };
  // What was read from an answer; the answer itself where nothing else was read.
  const said = (side, i) => side.parsed?.[i] ?? side.answer[i];
  const swapOf = (s, o, i) => JSON.stringify([said(s, i), said(o, i)]);
  const select = (s, o) => {
    const wanted = OUTCOMES.indexOf(state.list);
    const terms = words();
    const hay = terms.length ? haystack(o, s) : null;
    const test = isKind[state.kind];
    const rows = [];
    for (let i = 0; i < o.outcome.length; i++) {
      if (wanted >= 0 && o.outcome[i] !== wanted) continue;
      if (test && !test(s, o, i)) continue;
      if (hay && !terms.every((term) => hay[i].includes(term))) continue;
      rows.push(i);
    }
    const counts = new Map();
    for (const i of rows) if (said(s, i) !== said(o, i)) counts.set(swapOf(s, o, i), (counts.get(swapOf(s, o, i)) ?? 0) + 1);
    const common = [...counts].filter(([, n]) => n > 1).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 8);
    const narrowed = state.swap ? rows.filter((i) => swapOf(s, o, i) === state.swap) : rows;
    return { rows: state.cell ? narrowed.filter((i) => cellOf(s, answering(s, o), i) === state.cell) : narrowed, whole: narrowed, common };
  };

  // ---- confusion: what was right against what was answered -------------------------------------------------------
  const right = (s, i) => (s.references[i][0] ?? "").replace(/ ×\d+$/, "");
  const cellOf = (s, side, i) => JSON.stringify([right(s, i), said(side, i)]);
  const answering = (s, o) => (state.side === "before" ? s : o);
  const MOST = 14;
  const ranked = (counts) => [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([text]) => text);
  const tally = (texts) => { const counts = new Map(); for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1); return counts; };
  const drawConfusion = () => {
    const { whole, shared, own } = view;
    const rows = ranked(tally(whole.map((i) => right(shared, i))));
    const shown = answering(shared, own);
    const answers = ranked(tally(whole.map((i) => said(shown, i))));
    const shownRows = rows.slice(0, MOST).sort(natural);
    const known = new Set(shownRows);
    const columns = [...shownRows.filter((text) => answers.includes(text)), ...answers.filter((text) => !known.has(text))].slice(0, MOST);
    const before = tally(whole.map((i) => cellOf(shared, shared, i)));
    const after = tally(whole.map((i) => cellOf(shared, own, i)));
    const counted = state.side === "before" ? before : after;
    const most = Math.max(1, ...counted.values());
    const cell = (row, column) => {
      const pair = JSON.stringify([row, column]);
      const count = counted.get(pair) ?? 0;
      const node = make("td", { class: row === column ? "same" : "other", style: `--share:${Math.round(100 * Math.sqrt(count / most))}%` });
      if (count) {
        node.append(make("button", { type: "button", "aria-pressed": String(state.cell === pair), text: number(count),
          "data-tip": `${short(row)} answered as ${short(column)}\nbefore ${number(before.get(pair) ?? 0)}, after ${number(after.get(pair) ?? 0)}`,
          onclick: () => go({ cell: state.cell === pair ? "" : pair, mode: "confusion" }) }));
      }
      return node;
    };
    const left = rows.length - shownRows.length + Math.max(0, new Set([...answers, ...shownRows]).size - columns.length);
    $("confusion").replaceChildren(
      make("div", { class: "modes", role: "group", "aria-label": "Whose answers" }, ...["before", "after"].map((side) => make(
        "button", { type: "button", "aria-pressed": String(side === state.side), text: side === "before" ? "Before" : "After", onclick: () => go({ side, cell: "" }) }))),
      make("p", { class: "dim", text: `Down: what is right. Across: what was answered ${state.side === "before" ? "before" : "after"} tuning. ${left ? "The commonest are shown. " : ""}A click lists the items of a cell.` }),
      make("div", { class: "scroll" }, make("table", {},
        make("caption", { class: "sr", text: `Answers to ${task().name} by what is right` }),
        make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "right \\ answered" }), ...columns.map((text) => make("th", { scope: "col", title: text, text: short(text, 14) })))),
        make("tbody", {}, ...shownRows.map((row) => make("tr", {}, make("th", { scope: "row", title: row, text: short(row, 20) }), ...columns.map((column) => cell(row, column))))))));
  };
  const natural = (a, b) => a.localeCompare(b, "en", { numeric: true });

  // ---- drawing ----------------------------------------------------------------------------------------------------
  const draw = async () => {
    const mine = ++turn;
    $("status").textContent = "Loading…";
    const [shared, own, images] = await Promise.all([load(task().shared), load(task().own), load(index.pictures)]);
    if (mine !== turn) return;
    pictures = images;
    const { rows, whole, common } = select(shared, own);
    view = { rows, whole, shared, own };
    if (state.item) {
      const at = rows.findIndex((i) => shared.id[i] === state.item);
      if (at >= 0) state.page = Math.floor(at / PAGE);
      else state.item = "";
    }
    state.page = Math.min(state.page, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    if (!state.item && rows.length && wide()) state.item = shared.id[rows[state.page * PAGE]];
    drawHeads();
    drawSwaps(common);
    $("confusion").hidden = state.mode !== "confusion";
    if (state.mode === "confusion") drawConfusion();
    drawList();
    drawDetail();
    writeHash();
  };

  const drawHeads = () => {
    for (const button of document.querySelectorAll("[data-pick]")) button.setAttribute("aria-pressed", String(button.dataset.pick === recipe().name));
    for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode));
    for (const part of document.querySelectorAll("[data-verdict]")) part.hidden = part.dataset.verdict !== recipe().name;
    $("task").replaceChildren(...recipe().tasks.map((t, i) => {
      const option = make("option", { value: i, text: t.role === "target" ? `${t.name} (target)` : t.name });
      option.selected = i === state.task;
      return option;
    }));
    $("kind").value = state.kind;
    if (document.activeElement !== $("search")) $("search").value = state.query;
    const counts = { ...task().counts, all: task().n };
    document.querySelector(".tabs").replaceChildren(...LISTS.map((name) => make(
      "button", { type: "button", role: "tab", class: name, "aria-selected": String(name === state.list), onclick: () => go({ list: name }) },
      ABOUT[name], make("b", { text: number(counts[name]) }))));
  };

  const short = (text, most = 28) => {
    if (text.length <= most) return text || "(empty)";
    const half = Math.floor(most / 2) - 1;
    return `${text.slice(0, half)}…${text.slice(-half)}`;
  };
  const drawSwaps = (common) => {
    document.querySelector(".swaps").replaceChildren(...common.map(([swap, count]) => {
      const [from, to] = JSON.parse(swap);
      const pressed = swap === state.swap;
      return make("button", { type: "button", "aria-pressed": String(pressed), title: `${from} → ${to}`, onclick: () => go({ swap: pressed ? "" : swap }) },
        `${short(from)} → ${short(to)}`, make("b", { text: number(count) }));
    }));
  };

  const picture = (i, className) => {
    const at = view.shared.image[i];
    if (at < 0) return null;
    const image = make("img", { src: pictures[at], alt: "", class: className, loading: "lazy" });
    image.addEventListener("load", () => { if (image.naturalWidth <= 64) image.classList.add("pixels"); if (className === "") image.style.width = `${Math.min(320, Math.max(160, image.naturalWidth))}px`; });
    return image;
  };

  const outcome = (i) => OUTCOMES[view.own.outcome[i]];
  const drawList = () => {
    const { rows, shared, own } = view;
    const from = state.page * PAGE;
    const some = shared.image.some((at) => at >= 0);
    const rowsShown = rows.slice(from, from + PAGE);
    const tiles = state.mode === "gallery" && some;
    $("list").classList.toggle("gallery", tiles);
    $("list").replaceChildren(...rowsShown.map((i) => {
      const thumb = some ? picture(i, "thumb") ?? make("span", { class: "thumb" }) : null;
      const [was, now] = [said(shared, i), said(own, i)];
      const answers = was === now ? [marked(short(now, 60), "to")]
        : [marked(short(was, 30), "from"), " → ", marked(short(now, 60), "to")];
      const button = make("button", { type: "button", class: `${outcome(i)}${some ? "" : " bare"}`, "aria-label": tiles ? `${shared.question[i] || shared.id[i]}: ${was}, then ${now}` : null, "data-id": shared.id[i], onclick: () => choose(i, true) },
        thumb, tiles ? null : make("span", { class: "q" }, marked(shared.question[i].replace(/\s+/g, " ") || shared.id[i], "")), make("span", { class: "a" }, ...answers));
      if (shared.id[i] === state.item) button.setAttribute("aria-current", "true");
      return make("li", {}, button);
    }));
    if (!rows.length) $("list").append(make("li", { class: "empty", text: emptyText() }));
    const filtered = state.query || state.kind || state.swap || state.cell;
    const what = { forgot: "forgotten", learned: "learned", kept: "kept", never: "never right", all: "" }[state.list];
    $("status").textContent = [number(rows.length), what, rows.length === 1 ? "item" : "items", "of", task().name, filtered ? (rows.length === 1 ? "matches" : "match") : ""].filter(Boolean).join(" ");
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    $("where").textContent = rows.length ? `${number(from + 1)}–${number(Math.min(rows.length, from + PAGE))} of ${number(rows.length)}` : "";
    $("back").disabled = state.page === 0;
    $("next").disabled = state.page >= pages - 1;
  };
  const emptyText = () => {
    if (state.query || state.kind || state.swap || state.cell) return "Nothing matches. Esc clears the search.";
    return { forgot: "Nothing was forgotten here.", learned: "Nothing was learned here.", kept: "Nothing was right both before and after.", never: "Nothing was wrong both before and after.", all: "No items." }[state.list];
  };

  const marked = (text, className) => {
    const span = make("span", { class: className || null });
    const terms = words();
    if (!terms.length) { span.textContent = text; return span; }
    const low = text.toLowerCase();
    let at = 0;
    while (at < text.length) {
      const hits = terms.map((term) => [low.indexOf(term, at), term.length]).filter(([place]) => place >= 0).sort((a, b) => a[0] - b[0] || b[1] - a[1]);
      if (!hits.length) break;
      const [place, length] = hits[0];
      span.append(text.slice(at, place), make("mark", { text: text.slice(place, place + length) }));
      at = place + length;
    }
    span.append(text.slice(at));
    return span;
  };

  // An answer with the place at which it was read marked; a long one is cut in the middle, around that place.
  const SHOWN = 420;
  const AROUND = 90;
  const answered = (side, i) => {
    const text = side.answer[i];
    const read = side.parsed?.[i];
    if (!text) return [make("span", { text: "(empty)" })];
    const at = read ? text.toLowerCase().lastIndexOf(read.toLowerCase()) : -1;
    const piece = (from, to) => {
      if (at < 0 || at >= to || at + read.length <= from) return [marked(text.slice(from, to), "")];
      return [marked(text.slice(from, at), ""), make("mark", { class: "reading", title: "the answer that was read", text: text.slice(at, at + read.length) }), marked(text.slice(at + read.length, to), "")];
    };
    if (text.length <= SHOWN + 60) return piece(0, text.length);
    const edge = SHOWN / 2 - AROUND / 2;
    const kept = [[0, edge], [text.length - edge, text.length]];
    if (at >= edge && at < text.length - edge) kept.splice(1, 0, [Math.max(edge, at - AROUND), Math.min(text.length - edge, at + read.length + AROUND)]);
    const parts = [];
    let place = 0;
    for (const [from, to] of kept) {
      if (from > place) parts.push(make("button", { type: "button", class: "gap", "data-whole": "", text: `… ${number(from - place)} characters …` }));
      parts.push(...piece(from, to));
      place = to;
    }
    const body = make("span", {}, ...parts);
    body.addEventListener("click", (event) => { if (event.target.closest("[data-whole]")) body.replaceChildren(...piece(0, text.length)); });
    return [body];
  };

  const verdict = (score, lenient, cut) => {
    const right = score >= 0.5;
    const parts = [score === 1 ? "✓ right" : score === 0 ? "✗ wrong" : `${right ? "✓" : "✗"} ${Math.round(score * 100) / 100}`];
    if (formatOnly(score, lenient)) parts.push("right but for its format");
    if (cut) parts.push("cut off");
    return make("span", { class: `score ${right ? "right" : "wrong"}`, text: parts.join(", ") });
  };
  const current = () => view.rows.findIndex((i) => view.shared.id[i] === state.item);
  const drawDetail = () => {
    const at = current();
    const body = $("detail");
    if (at < 0) { body.replaceChildren(); document.body.classList.remove("open"); return; }
    const i = view.rows[at];
    const { shared, own } = view;
    const choices = shared.choices?.[i] ?? [];
    const term = (name, ...content) => [make("dt", { text: name }), ...content];
    const [before, after] = task().frame;
    const folded = before || after ? [make("details", { class: "frame" }, make("summary", { text: "Around every question" }),
      make("p", { text: `${before}[the question]${after.startsWith("\n") ? "" : " "}${after}` }))] : [];
    const reading = (side) => (side.parsed?.[i] != null ? make("span", { class: "read", text: `read as: ${side.parsed[i] || "(nothing)"}` }) : "");
    body.className = `detail ${outcome(i)}`;
    body.replaceChildren(
      make("div", { class: "head" }, make("span", { class: "what", text: ABOUT[outcome(i)] }), make("span", { class: "id", text: shared.id[i] }),
        make("button", { type: "button", text: "Close", onclick: () => choose(-1) })),
      ...[picture(i, "")].filter(Boolean),
      ...(shared.question[i] ? [make("p", { class: "question" }, marked(shared.question[i], ""))] : []),
      ...folded,
      make("dl", {},
        ...(choices.length ? term("Options", make("dd", {}, make("ol", { class: "options" }, ...choices.map((text) => make("li", { text }))))) : []),
        ...term("Reference", make("dd", {}, marked(shared.references[i].join(shared.references[i].join("").length > 60 ? "\n" : " · ") || "–", ""))),
        ...term("Before", make("dd", {}, reading(shared), ...answered(shared, i), verdict(shared.score[i], shared.lenient?.[i], shared.truncated?.[i]))),
        ...term("After", make("dd", { class: "after" }, reading(own), ...answered(own, i), verdict(own.score[i], own.lenient?.[i], own.truncated?.[i]))),
      ),
      make("div", { class: "nav" }, make("button", { type: "button", text: "‹ Previous", onclick: () => step(-1) }), make("button", { type: "button", text: "Next ›", onclick: () => step(1) })),
    );
    body.scrollTop = 0;
  };

  // ---- moving -----------------------------------------------------------------------------------------------------
  const choose = (i, open = false) => {
    state.item = i < 0 ? "" : view.shared.id[i];
    quiet = false;
    for (const button of $("list").querySelectorAll("button")) {
      if (button.dataset.id === state.item) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    }
    document.body.classList.toggle("open", open && i >= 0);
    drawDetail();
    writeHash();
  };
  const step = (by) => {
    const at = current();
    const to = at < 0 ? state.page * PAGE : at + by;
    if (to < 0 || to >= view.rows.length) return;
    const open = document.body.classList.contains("open");
    if (Math.floor(to / PAGE) !== state.page) { state.page = Math.floor(to / PAGE); drawList(); }
    choose(view.rows[to], open);
    $("list").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  };
  const page = (by) => { quiet = false; state.page += by; state.item = wide() ? view.shared.id[view.rows[state.page * PAGE]] : ""; drawList(); drawDetail(); writeHash(); $("status").scrollIntoView({ block: "start" }); };
  const go = (change) => {
    Object.assign(state, { page: 0, item: "" }, "list" in change || "task" in change || "recipe" in change ? { swap: "", cell: "" } : {}, change);
    quiet = false;
    return draw();
  };
  const goTask = (by) => go({ task: (state.task + by + recipe().tasks.length) % recipe().tasks.length });
  const goRecipe = (name) => {
    const wanted = index.recipes.findIndex((r) => r.name === name);
    if (wanted < 0) return Promise.resolve();
    const same = index.recipes[wanted].tasks.findIndex((t) => t.name === task().name);
    return go({ recipe: wanted, task: Math.max(0, same) });
  };

  // ---- addresses --------------------------------------------------------------------------------------------------
  // A page that was only opened keeps its address; other parts of an address belong to the rest of the page.
  let quiet = true;
  const writeHash = () => {
    if (quiet) return;
    const parts = new URLSearchParams(location.hash.slice(1));
    for (const name of OWN) parts.delete(name);
    if (index.recipes.length > 1 || KEY !== "recipe") parts.set(KEY, recipe().name);
    parts.set("task", task().name);
    parts.set("list", state.list);
    if (state.mode !== "list") parts.set("mode", state.mode);
    if (state.side !== "after") parts.set("side", state.side);
    for (const name of ["query", "kind", "swap", "cell", "item"]) if (state[name]) parts.set(name, state[name]);
    if (state.page && !state.item) parts.set("page", state.page + 1);
    history.replaceState(null, "", `#${parts}`);
  };
  const readHash = async () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const find = (list, name) => Math.max(0, list.findIndex((entry) => entry.name === name));
    quiet = true;
    state.recipe = parts.has(KEY) ? find(index.recipes, parts.get(KEY)) : 0;
    // Open on the target; without one, on the task that lost most.
    const worst = recipe().tasks.reduce((best, t, i, all) => (t.counts.forgot > all[best].counts.forgot ? i : best), 0);
    const target = recipe().tasks.findIndex((t) => t.role === "target");
    state.task = parts.has("task") ? find(recipe().tasks, parts.get("task")) : target >= 0 ? target : worst;
    state.item = parts.get("item") ?? "";
    const list = parts.get("list");
    state.list = LISTS.includes(list) ? list : state.item ? "all" : task().counts.forgot ? "forgot" : task().counts.learned ? "learned" : "all";
    state.query = parts.get("query") ?? "";
    state.kind = isKind[parts.get("kind")] ? parts.get("kind") : "";
    state.swap = parts.get("swap") ?? "";
    state.cell = parts.get("cell") ?? "";
    state.side = parts.get("side") === "before" ? "before" : "after";
    state.mode = MODES.includes(parts.get("mode")) ? parts.get("mode") : "list";
    state.page = Math.max(0, (Number.parseInt(parts.get("page"), 10) || 1) - 1);
    await draw();
    if (parts.has("item")) {
      if (current() >= 0 && !wide()) document.body.classList.add("open");
      $("items").scrollIntoView();
    } else if (parts.has("task")) $("items").scrollIntoView();
  };

  // ---- events -----------------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-task]");
    if (link) {
      event.preventDefault();
      const wanted = index.recipes.findIndex((r) => r.name === link.dataset.of);
      const tasks = index.recipes[wanted].tasks;
      const to = tasks.findIndex((t) => t.name === link.dataset.task);
      const counts = tasks[to].counts;
      const list = link.dataset.list ?? (counts.forgot ? "forgot" : counts.learned ? "learned" : "all");
      go({ recipe: wanted, task: to, list, query: "", kind: "" }).then(() => $("items").scrollIntoView({ behavior: "smooth" }));
    }
    const pill = event.target.closest("[data-pick]");
    if (pill) goRecipe(pill.dataset.pick);
    const mode = event.target.closest("[data-mode]");
    // A list of one outcome has nothing to confuse, so the confusion begins with all items.
    if (mode) go({ mode: mode.dataset.mode, ...(mode.dataset.mode === "confusion" ? { list: "all", cell: state.cell } : { cell: "" }) });
  });
  $("task").addEventListener("change", (event) => go({ task: Number(event.target.value) }));
  $("kind").addEventListener("change", (event) => go({ kind: event.target.value, swap: "" }));
  let typing = 0;
  $("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ query: event.target.value.trim(), swap: "" }), 140);
  });
  $("back").addEventListener("click", () => page(-1));
  $("next").addEventListener("click", () => page(1));
  window.addEventListener("hashchange", readHash);

  const clear = () => {
    if (document.body.classList.contains("open")) return choose(-1);
    quiet = false;
    if (document.activeElement === $("search")) $("search").blur();
    $("search").value = "";
    return go({ query: "", kind: "", swap: "", cell: "", item: state.item });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { clear(); return; }
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Enter" && event.target === $("search")) event.target.blur();
      return;
    }
    const actions = {
      j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
      "/": () => { $("search").focus(); $("search").select(); }, "[": () => goTask(-1), "]": () => goTask(1),
    };
    LISTS.forEach((name, place) => { actions[place + 1] = () => go({ list: name }); });
    const inItems = $("items").contains(event.target) || state.item;
    if (event.key.startsWith("Arrow") && !inItems) return;
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });

  readHash();
})();
