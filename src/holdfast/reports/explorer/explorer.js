"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const index = JSON.parse($("index").textContent);
  const OUTCOMES = index.outcomes;
  const LISTS = [...OUTCOMES, "all"];
  const ABOUT = { forgot: "Forgot", learned: "Learned", kept: "Kept", never: "Never right", all: "All" };
  const PAGE = 50;
  const state = { recipe: 0, task: 0, list: "forgot", query: "", kind: "", swap: "", page: 0, item: "" };
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
    return { rows: state.swap ? rows.filter((i) => swapOf(s, o, i) === state.swap) : rows, common };
  };

  // ---- drawing ----------------------------------------------------------------------------------------------------
  const draw = async () => {
    const mine = ++turn;
    $("status").textContent = "Loading…";
    const [shared, own, images] = await Promise.all([load(task().shared), load(task().own), load(index.pictures)]);
    if (mine !== turn) return;
    pictures = images;
    const { rows, common } = select(shared, own);
    view = { rows, shared, own };
    if (state.item) {
      const at = rows.findIndex((i) => shared.id[i] === state.item);
      if (at >= 0) state.page = Math.floor(at / PAGE);
      else state.item = "";
    }
    state.page = Math.min(state.page, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    if (!state.item && rows.length && wide()) state.item = shared.id[rows[state.page * PAGE]];
    drawHeads();
    drawSwaps(common);
    drawList();
    drawDetail();
    writeHash();
  };

  const drawHeads = () => {
    for (const button of document.querySelectorAll("[data-recipe]")) button.setAttribute("aria-pressed", String(button.dataset.recipe === recipe().name));
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
    $("list").replaceChildren(...rowsShown.map((i) => {
      const thumb = some ? picture(i, "thumb") ?? make("span", { class: "thumb" }) : null;
      const [was, now] = [said(shared, i), said(own, i)];
      const answers = was === now ? [marked(short(now, 60), "to")]
        : [marked(short(was, 30), "from"), " → ", marked(short(now, 60), "to")];
      const button = make("button", { type: "button", class: `${outcome(i)}${some ? "" : " bare"}`, "data-id": shared.id[i], onclick: () => choose(i, true) },
        thumb, make("span", { class: "q" }, marked(shared.question[i].replace(/\s+/g, " ") || shared.id[i], "")), make("span", { class: "a" }, ...answers));
      if (shared.id[i] === state.item) button.setAttribute("aria-current", "true");
      return make("li", {}, button);
    }));
    if (!rows.length) $("list").append(make("li", { class: "empty", text: emptyText() }));
    const filtered = state.query || state.kind || state.swap;
    const what = { forgot: "forgotten", learned: "learned", kept: "kept", never: "never right", all: "" }[state.list];
    $("status").textContent = [number(rows.length), what, rows.length === 1 ? "item" : "items", "of", task().name, filtered ? (rows.length === 1 ? "matches" : "match") : ""].filter(Boolean).join(" ");
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    $("where").textContent = rows.length ? `${number(from + 1)}–${number(Math.min(rows.length, from + PAGE))} of ${number(rows.length)}` : "";
    $("back").disabled = state.page === 0;
    $("next").disabled = state.page >= pages - 1;
  };
  const emptyText = () => {
    if (state.query || state.kind || state.swap) return "Nothing matches. Esc clears the search.";
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
        ...term("Before", make("dd", {}, reading(shared), marked(shared.answer[i] || "(empty)", ""), verdict(shared.score[i], shared.lenient?.[i], shared.truncated?.[i]))),
        ...term("After", make("dd", { class: "after" }, reading(own), marked(own.answer[i] || "(empty)", ""), verdict(own.score[i], own.lenient?.[i], own.truncated?.[i]))),
      ),
      make("div", { class: "nav" }, make("button", { type: "button", text: "‹ Previous", onclick: () => step(-1) }), make("button", { type: "button", text: "Next ›", onclick: () => step(1) })),
    );
    body.scrollTop = 0;
  };

  // ---- moving -----------------------------------------------------------------------------------------------------
  const choose = (i, open = false) => {
    state.item = i < 0 ? "" : view.shared.id[i];
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
  const page = (by) => { state.page += by; state.item = wide() ? view.shared.id[view.rows[state.page * PAGE]] : ""; drawList(); drawDetail(); writeHash(); $("status").scrollIntoView({ block: "start" }); };
  const go = (change) => {
    Object.assign(state, { page: 0, item: "" }, "list" in change || "task" in change || "recipe" in change ? { swap: "" } : {}, change);
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
  const writeHash = () => {
    const parts = new URLSearchParams();
    if (index.recipes.length > 1) parts.set("recipe", recipe().name);
    parts.set("task", task().name);
    parts.set("list", state.list);
    for (const name of ["query", "kind", "swap", "item"]) if (state[name]) parts.set(name, state[name]);
    if (state.page && !state.item) parts.set("page", state.page + 1);
    history.replaceState(null, "", `#${parts}`);
  };
  const readHash = async () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const find = (list, name) => Math.max(0, list.findIndex((entry) => entry.name === name));
    state.recipe = parts.has("recipe") ? find(index.recipes, parts.get("recipe")) : 0;
    const worst = recipe().tasks.reduce((best, t, i, all) => (t.counts.forgot > all[best].counts.forgot ? i : best), 0);
    state.task = parts.has("task") ? find(recipe().tasks, parts.get("task")) : worst;
    state.item = parts.get("item") ?? "";
    const list = parts.get("list");
    state.list = LISTS.includes(list) ? list : state.item ? "all" : task().counts.forgot ? "forgot" : task().counts.learned ? "learned" : "all";
    state.query = parts.get("query") ?? "";
    state.kind = isKind[parts.get("kind")] ? parts.get("kind") : "";
    state.swap = parts.get("swap") ?? "";
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
    const pill = event.target.closest("[data-recipe]");
    if (pill) goRecipe(pill.dataset.recipe);
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
    if (document.activeElement === $("search")) $("search").blur();
    $("search").value = "";
    return go({ query: "", kind: "", swap: "", item: state.item });
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

  const themes = document.documentElement;
  const remember = (value) => { try { localStorage.setItem("holdfast-theme", value); } catch { /* a file may have no storage */ } };
  try { const kept = localStorage.getItem("holdfast-theme"); if (kept) themes.dataset.theme = kept; } catch { /* the same */ }
  $("theme").addEventListener("click", () => {
    const dark = themes.dataset.theme ? themes.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    themes.dataset.theme = dark ? "light" : "dark";
    remember(themes.dataset.theme);
  });

  readHash();
})();
