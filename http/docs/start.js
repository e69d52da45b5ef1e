// Shows the document that the path names: /docs/payway shows /openapi/payway.json.
const shown = location.pathname.split("/")[2] || "hostup";
const url = `/openapi/${shown}.json`;
for (const tab of document.querySelectorAll("nav a")) {
  if (!tab.pathname.endsWith("/" + shown)) continue;
  tab.setAttribute("aria-current", "page");
  document.title = "konto: " + tab.textContent;
}
document.getElementById("document").href = url;
SwaggerUIBundle({
  url,
  dom_id: "#contract",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null, // nothing leaves the machine
});
