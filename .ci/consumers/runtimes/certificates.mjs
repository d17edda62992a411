// Writes the certificates of the checks: certificates.json, and PEM files of two certificates of the server.
import { X509Certificate } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { generate } from "selfsigned"

const made = async (commonName, ca, isAuthority = false) => {
  const extensions = isAuthority
    ? [{ name: "basicConstraints", cA: true, critical: true }]
    : [
        {
          name: "subjectAltName",
          altNames: [
            { type: 2, value: "localhost" },
            { type: 7, ip: "127.0.0.1" }
          ]
        }
      ]
  const options = { keyType: "ec", algorithm: "sha256", extensions, ...(ca && { ca }) }
  const { cert, private: key } = await generate([{ name: "commonName", value: commonName }], options)
  return { key, cert }
}

const authority = await made("authority", undefined, true)
const other = await made("other authority", undefined, true)
const server = await made("localhost", authority)
const renewed = await made("localhost", authority)
const client = await made("prometheus", authority)
const stranger = await made("prometheus", other)

const serial = ({ cert }) => new X509Certificate(cert).serialNumber
const serials = { server: serial(server), renewed: serial(renewed) }
await writeFile("certificates.json", JSON.stringify({ authority: authority.cert, server, client, stranger, serials }))
for (const [name, { cert, key }] of Object.entries({ server, renewed })) {
  await writeFile(`${name}.cert.pem`, cert)
  await writeFile(`${name}.key.pem`, key)
}
