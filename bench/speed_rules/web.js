// Haraka's plugin that asks a web service one question about each message, says so in a header, and throws the mail away.
const http = require('http')
const agent = new http.Agent({ keepAlive: true })

exports.register = function () {
  this.url = this.config.get('web_url')
}

exports.hook_rcpt = (next) => next(OK)

exports.hook_data_post = function (next, connection) {
  const transaction = connection.transaction
  const request = http.get(this.url, { agent, timeout: 5000 }, (response) => {
    let body = ''
    response.on('data', (piece) => { body += piece })
    response.on('end', () => {
      if (response.statusCode === 200 && body === 'fine') {
        transaction.notes.web = 'WEB_0'
        transaction.add_header('X-Web', 'WEB_0')
      }
      next()
    })
  })
  request.on('timeout', () => request.destroy())
  request.on('error', () => next())
}

exports.hook_queue = (next, connection) => next(OK, `Discarded, ${connection.transaction.notes.web}`)
