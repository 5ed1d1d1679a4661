"use strict";
// What all pages share: light and dark, and what a mark says when it is pointed at or reached by keyboard.
(() => {
  const root = document.documentElement;
  const kept = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("holdfast-theme");
      localStorage.setItem("holdfast-theme", value);
    } catch { /* a file may have no storage */ }
    return null;
  };
  const known = kept();
  if (known) root.dataset.theme = known;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept(root.dataset.theme);
  });

  const tip = document.getElementById("tip");
  let hot = null;
  const light = (number) => {
    if (number === hot) return;
    for (const mark of document.querySelectorAll(".hot")) mark.classList.remove("hot");
    hot = number;
    document.body.classList.toggle("hovering", hot !== null);
    if (hot !== null) for (const mark of document.querySelectorAll(`[data-recipe="${hot}"]`)) mark.classList.add("hot");
  };
  const show = (mark, x, y) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(innerWidth - width - 6, x + 14))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(6, y - height - 12) : y + 18}px`;
  };
  const hide = () => { tip.hidden = true; light(null); };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-tip]");
    if (mark) show(mark, event.clientX, event.clientY);
    const own = event.target.closest?.("[data-recipe]");
    if (own) light(own.dataset.recipe); else if (!mark) hide();
    if (!mark) tip.hidden = true;
  });
  document.addEventListener("focusin", (event) => {
    const mark = event.target.closest?.("[data-tip]");
    if (!mark || !mark.matches(":focus-visible")) return;
    const box = mark.getBoundingClientRect();
    show(mark, box.right, box.top);
    if (mark.dataset.recipe) light(mark.dataset.recipe);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("pointerleave", hide);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
})();
