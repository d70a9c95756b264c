// Runs once, when the page is there: decodes the columns and series of all glaciers, and shows the map and one glacier.
const decode = async () => {
  const text = (name) => document.getElementById("packed-" + name).textContent
  const bytes = async (name) => {
    const letters = atob(text(name))
    const data = new Uint8Array(letters.length)
    for (let i = 0; i < letters.length; i++) data[i] = letters.charCodeAt(i)
    const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"))
    return new Uint8Array(await new Response(stream).arrayBuffer())
  }
  const words = async (name) => new TextDecoder().decode(await bytes(name))
  const floats = async (name) => new Float32Array((await bytes(name)).buffer)
  const facts = JSON.parse(await words("facts"))
  const columns = {}
  for (const name of ["longitude", "latitude", "area", "mean", "applicable", "size"]) columns[name] = await floats(name)
  columns.identifier = (await words("identifier")).split("\n")
  columns.name = (await words("name")).split("\n")
  map.data = columns
  const has_half = document.getElementById("packed-half") != null
  const [planes, half] = await Promise.all([bytes("balance"), has_half ? bytes("half") : null])
  window.glacmb_series = {facts, planes, half}
  const one = facts.first
  chosen.data = {index: [one], longitude: [columns.longitude[one]], latitude: [columns.latitude[one]]}
  document.documentElement.dataset.ready = "yes"
  const second = document.querySelector("[data-chart=applicability-map]")
  if (second !== null) {
    const watch = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        watch.disconnect()
        again.data = {...columns}
      }
    }, {rootMargin: "300px"})
    watch.observe(second)
    window.addEventListener("beforeprint", () => { again.data = {...columns} }, {once: true})
  }
}
decode()
