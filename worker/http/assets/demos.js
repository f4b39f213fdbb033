const broker = JSON.parse(document.getElementById("broker").textContent);
for (const protocol of ["signaling", "notifications"])
  document.getElementById("no-" + protocol).hidden = broker.endpoints.some(e => e.protocol === protocol);
