// Runs once, when the page is there: decodes the columns and series of all glaciers, and shows the map and one glacier.
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

// Balances in steps, -32768 for none: sums of the remainders, from glacier to glacier.
const balances = (planes, code, count) => {
  const out = new Int16Array(planes.length / 2)
  const last = new Int32Array(count)
  for (let at = 0, glacier = 0; at < out.length; glacier++) {
    for (let k = 0; k < count; k++, at++) {
      const coded = planes[at] + 256 * planes[out.length + at]
      if (coded === 65535) {
        out[at] = -32768
      } else {
        last[k] += coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2
        out[at] = last[k] + code.years[k] + code.glaciers[glacier]
      }
    }
  }
  return out
}

const decode = async () => {
  const facts = JSON.parse(await words("facts"))
  const columns = {}
  for (const name of ["longitude", "latitude", "area", "mean", "applicable", "size"]) columns[name] = await floats(name)
  columns.identifier = (await words("identifier")).split("\n")
  columns.name = (await words("name")).split("\n")
  const count = facts.year.length
  const balance = balances(await bytes("balance"), facts.series, count)
  const half = document.getElementById("packed-half") === null ? null : await bytes("half")
  if (half !== null) for (let at = count; at < half.length; at++) half[at] += half[at - count]
  window.glacmb_series = {facts, balance, half}
  map.data = columns
  const known = facts.of_product ? Object.keys(facts.observed).map(Number) : []
  const taken = (name) => known.map((one) => columns[name][one])
  measured.data = {longitude: taken("longitude"), latitude: taken("latitude"), size: taken("size").map((x) => x + 3)}
  const one = facts.first
  chosen.data = {index: [one], longitude: [columns.longitude[one]], latitude: [columns.latitude[one]]}
  document.documentElement.dataset.ready = "yes"
  const second = document.querySelector("[data-chart=applicability-map]")
  if (second === null) return
  const fill = () => { if (again.data.longitude.length === 0) again.data = {...columns} }
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      watch.disconnect()
      fill()
    }
  }, {rootMargin: "300px"})
  watch.observe(second)
  window.addEventListener("beforeprint", fill)
}
decode()
