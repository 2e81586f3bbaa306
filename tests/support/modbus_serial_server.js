// A Modbus server of npm's modbus-serial, for tests: node modbus_serial_server.js PORT|DEVICE UNIT
// Input as JSON: words (those of the holding registers from 0 on, then as many input registers), coils, discreteInputs.
const { ServerSerial, ServerTCP } = require("modbus-serial");

const [place, unit] = process.argv.slice(2);
const { words, coils, discreteInputs } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const half = words.length / 2;
const vector = {
  getCoil: (address) => coils[address],
  getDiscreteInput: (address) => discreteInputs[address],
  getHoldingRegister: (address) => words[address],
  getInputRegister: (address) => words[half + address],
};
const unitID = Number(unit);
const server = place.startsWith("/")
  ? new ServerSerial(vector, { port: place, baudRate: 9600, unitID })
  : new ServerTCP(vector, { host: "127.0.0.1", port: Number(place), unitID });
server.on("initialized", () => console.log("ready"));
server.on("socketError", () => {});
