
(() => {
  const buttons = document.querySelectorAll(".toggle button");
  const draw = (axis) => {
    for (const other of document.querySelectorAll("script[data-tokens]")) {
      const name = other.dataset.tokens;
      const source = axis === "tokens" ? other : document.querySelector(`script[data-figure="${name}"]`);
      const figure = JSON.parse(source.textContent);
      Plotly.react(document.getElementById(name), figure.data, figure.layout);
    }
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.axis === axis));
  };
  for (const button of buttons) button.addEventListener("click", () => draw(button.dataset.axis));
})();
