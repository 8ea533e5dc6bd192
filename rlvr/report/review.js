"use strict";
const cards = [...document.querySelectorAll("article")];
const store = "rlvr review " + document.title;
const kept = JSON.parse(localStorage.getItem(store) || "{}");
const show = () => {
  let done = 0;
  for (const card of cards) {
    const ticked = !!card.querySelector("input:checked");
    card.classList.toggle("done", ticked);
    done += ticked;
  }
  document.getElementById("done").textContent = done + " of " + cards.length + " read";
};
for (const card of cards) {
  const [verdict, note] = kept[card.dataset.key] || [];
  for (const tick of card.querySelectorAll("input[type=radio]")) tick.checked = tick.value === verdict;
  card.querySelector(".note").value = note || "";
  card.addEventListener("input", () => {
    const ticked = card.querySelector("input:checked");
    kept[card.dataset.key] = [ticked ? ticked.value : "", card.querySelector(".note").value];
    localStorage.setItem(store, JSON.stringify(kept));
    show();
  });
}
const cell = text => '"' + (/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replaceAll('"', '""') + '"';
document.getElementById("save").addEventListener("click", () => {
  const rows = cards.map(card => [card.dataset.model, card.dataset.problem, card.dataset.sample,
    ...(kept[card.dataset.key] || ["", ""])]);
  const heads = ["model", "problem_id", "sample", "verdict", "note"];
  const text = [heads, ...rows].map(row => row.map(cell).join(",")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text + "\n"], {type: "text/csv"}));
  link.download = "review.csv";
  link.click();
});
show();
