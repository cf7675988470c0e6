"use strict";
(() => {
  const LONG = 30; // entries of the table of contents
  const COLUMN = 110; // pixels of a column below which a table is set narrower
  // Characters above which a field has a line of its card to itself, or two columns; a marked one is bolder.
  const [WIDE, LONGER, MARKED] = [24, 13, 9];
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const wide = matchMedia("(min-width: 1200px)");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const contents = byId("_contents");
  const help = byId("_help");

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const nameTheme = () => { byId("_theme").textContent = isDark() ? "Light" : "Dark"; };
  const toggleTheme = () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); };

  const foldContents = () => { if (contents) contents.open = wide.matches; };
  // Paper has all folds that are printed open; after it they are as they were.
  let opened = [];
  const openFolds = () => {
    opened = [...opened, ...document.querySelectorAll("details:not([open], .unprinted)")];
    for (const each of opened) each.open = true;
  };
  const closeFolds = () => {
    for (const each of opened) each.open = false;
    opened = [];
  };

  // A link may lead into something folded.
  const reveal = () => {
    const target = location.hash.length > 1 ? byId(location.hash.slice(1)) : null;
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    if (target) target.scrollIntoView();
  };

  const headings = [...document.querySelectorAll("main h2, main h3")];
  const step = (way) => {
    const places = headings.map((each) => Math.round(each.getBoundingClientRect().top));
    const next = way > 0 ? places.findIndex((top) => top > 24) : places.findLastIndex((top) => top < 8);
    const heading = headings[next];
    if (!heading) return;
    heading.scrollIntoView({ block: "start" });
    heading.focus({ preventScroll: true });
  };

  const keys = { j: () => step(1), k: () => step(-1), t: toggleTheme, "?": () => (help.open ? help.close() : help.showModal()) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || !(event.key in keys)) return;
    if (help.open && event.key !== "?") return;
    keys[event.key]();
    event.preventDefault();
  });

  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    byId("_spoken").textContent = "Copied";
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }

  // What a row of cards says to the eye by its place in a table, its cells say themselves.
  const label = (table) => {
    if (table.dataset.labelled !== undefined) return;
    table.dataset.labelled = "";
    const roles = (all, role) => { for (const each of all) each.setAttribute("role", role); };
    const headings = [...table.tHead.rows[0].cells].map((each) => each.textContent);
    table.setAttribute("role", "table");
    roles([table.tHead, ...table.tBodies], "rowgroup");
    roles(table.rows, "row");
    roles(table.tHead.rows[0].cells, "columnheader");
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((each, at) => {
        each.setAttribute("role", at ? "cell" : "rowheader");
        each.dataset.heading = headings[at];
        const length = each.textContent.length;
        each.classList.toggle("wide", length > WIDE);
        each.classList.toggle("double", !each.matches(".number") && length > (each.querySelector(".mark") ? MARKED : LONGER));
      });
    }
  };
  // A table of many columns for its room is set narrower; where that is too wide as well, each row becomes a card.
  const layTables = () => {
    const shown = [...document.querySelectorAll("main .scroll > table:not(.stacks)")].filter((each) => !each.closest("details:not([open])"));
    const isWide = ({ parentElement: box }) => box.scrollWidth > box.clientWidth + 1;
    for (const table of shown) table.classList.remove("tight", "carded");
    const crowded = (each) => each.tHead.rows[0].cells.length * COLUMN > each.parentElement.clientWidth;
    const tight = shown.filter((each) => crowded(each) || isWide(each));
    for (const table of tight) table.classList.add("tight");
    const carded = tight.filter(isWide);
    for (const table of carded) {
      label(table);
      table.classList.replace("tight", "carded");
    }
  };

  // Only what can be scrolled needs to be reached by Tab; a table that goes on to the right fades there.
  const fade = (box) => box.classList.toggle("more", box.scrollWidth > box.clientWidth + box.scrollLeft + 1);
  const reachable = () => {
    layTables();
    for (const box of document.querySelectorAll(".scroll, pre")) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; else box.removeAttribute("tabindex");
      if (box.matches(".scroll")) fade(box);
    }
  };

  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  // Of a long table of contents, the second level shows only where the reader is.
  if (links.size > LONG) document.querySelector(".contents").classList.add("long");
  const mark = () => {
    const first = [...links.keys()].filter((id) => seen.has(id)).at(-1);
    for (const each of document.querySelectorAll(".contents .current")) each.classList.remove("current");
    for (const [id, link] of links) {
      if (id !== first) { link.removeAttribute("aria-current"); continue; }
      link.setAttribute("aria-current", "true");
      for (let item = link.closest("li"); item; item = item.parentElement.closest("li")) item.classList.add("current");
    }
  };
  const watcher = new IntersectionObserver((found) => {
    for (const each of found) if (each.isIntersecting) seen.add(each.target.id); else seen.delete(each.target.id);
    mark();
  }, { rootMargin: "-4% 0px -80% 0px" });
  for (const id of links.keys()) if (byId(id)) watcher.observe(byId(id));

  byId("_tools").hidden = false;
  byId("_theme").addEventListener("click", toggleTheme);
  byId("_keys").addEventListener("click", keys["?"]);
  prefersDark.addEventListener("change", nameTheme);
  wide.addEventListener("change", foldContents);
  addEventListener("hashchange", reveal);
  addEventListener("beforeprint", openFolds);
  addEventListener("afterprint", closeFolds);
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);
  document.addEventListener("scroll", (event) => { if (event.target.matches?.(".scroll")) fade(event.target); }, { capture: true, passive: true });
  nameTheme();
  foldContents();
  reachable();
  reveal();
})();
