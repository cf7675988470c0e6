// What the theme leaves out for people who read with the keyboard or by ear.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  const reachable = () =>
    document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code").forEach((part) => {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    });
  reachable();
  addEventListener("resize", reachable);
});
