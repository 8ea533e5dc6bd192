// What scrolls sideways can be reached with the keyboard: code and tables that are wider than the page get a tab stop.
function stops() {
  for (const box of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", stops); // by then the theme has wrapped the tables
addEventListener("resize", stops);
