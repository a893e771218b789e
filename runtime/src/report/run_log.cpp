//===- run_log.cpp - The JSON log of a run ---------------------------------===//
#include "report/run_log.h"

#include "support/file.h"
#include "support/json.h"
#include "support/text.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

namespace txc {

using Json = nlohmann::ordered_json;

// Text of a value. Invalid UTF-8, say in a path, is replaced, not thrown at.
static std::string dump(const Json &value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string timestamp(std::time_t time) {
  char text[64];
  struct tm parts;
  ::localtime_r(&time, &parts);
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S%z", &parts);
  return text;
}

static bool writeAll(int fd, std::string_view text, uint64_t offset) {
  while (!text.empty()) {
    ssize_t put = ::pwrite(fd, text.data(), text.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return false;
    text.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return true;
}

static bool copyBytes(int from, uint64_t begin, uint64_t end, int to, uint64_t offset) {
  std::string piece;
  while (begin < end) {
    piece.resize(std::min<uint64_t>(end - begin, 1 << 20));
    ssize_t got = ::pread(from, piece.data(), piece.size(), static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR)
      continue;
    piece.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (piece.empty() || !writeAll(to, piece, offset))
      return false;
    begin += piece.size();
    offset += piece.size();
  }
  return true;
}

// Whether anybody else has the file open: then it cannot be leased. Where files
// cannot be leased at all, nobody is taken to have.
static bool isReadByOthers(int fd) {
  // A reader who opens it within the lease has the kernel send this signal, which
  // is ignored unless a program asks for it; SIGIO would end the process.
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0)
    return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

// The document up to its first iteration. Objects of objects are broken into
// lines, what is deeper is not: the memory plan has a line per buffer.
static std::string openingPart(const Json &head) {
  std::string out = "{";
  auto add = [&](const Json &object, int depth, auto &&self) -> void {
    bool first = true;
    for (const auto &[key, value] : object.items()) {
      out += (first ? "\n" : ",\n") + std::string(static_cast<size_t>(2 * depth), ' ') + dump(key) + ": ";
      first = false;
      const bool deep = value.is_structured() && !value.empty() && value.begin()->is_structured();
      if (value.is_object() && !value.empty() && depth < 3) {
        out += "{";
        self(value, depth + 1, self);
        out += "\n" + std::string(static_cast<size_t>(2 * depth), ' ') + "}";
      } else if (value.is_array() && deep) {
        out += "[";
        for (size_t i = 0; i < value.size(); ++i)
          out += (i ? ",\n" : "\n") + std::string(static_cast<size_t>(2 * depth + 2), ' ') + dump(value[i]);
        out += "\n" + std::string(static_cast<size_t>(2 * depth), ' ') + "]";
      } else {
        out += dump(value);
      }
    }
  };
  add(head, 1, add);
  return out + ",\n  \"training_iterations\": [";
}

Status RunLog::failure(const char *what) const {
  return Status::failed(path_ + ": " + what + ": " + std::strerror(errno));
}

Result<std::unique_ptr<RunLog>> RunLog::create(const std::string &outDir, std::time_t start,
                                               const Json &header) {
  std::error_code error;
  std::filesystem::create_directories(outDir, error);
  if (error || !std::filesystem::is_directory(outDir, error))
    return Status::failed(outDir + ": cannot make the folder for logs: " +
                          (error ? error.message() : "a file is in its place") + "; give another --out_dir");

  std::unique_ptr<RunLog> log(new RunLog);
  char stem[64];
  struct tm parts;
  ::localtime_r(&start, &parts);
  std::strftime(stem, sizeof(stem), "run_%Y%m%d_%H%M%S", &parts);
  // Two runs that start in the same second get names of their own.
  for (int attempt = 1; attempt < 100 && log->visible_.fd < 0; ++attempt) {
    log->runName_ = attempt == 1 ? stem : format("%s_%d", stem, attempt);
    log->path_ = outDir + "/" + log->runName_ + ".json";
    // The document gets its name when it is complete.
    std::string reserved = outDir + "/" + log->runName_ + ".jsonl";
    log->linesFd_ = ::open(reserved.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (log->linesFd_ < 0 && errno == EEXIST)
      continue;
    if (log->linesFd_ < 0)
      return log->failure("cannot make the log");
    break;
  }
  log->hiddenPath_ = outDir + "/." + log->runName_ + ".json.next";

  log->head_ = {{"run_name", log->runName_}, {"start_time", timestamp(start)}};
  log->head_["metadata"] = Json::object();
  log->head_.update(header);
  std::string body = openingPart(log->head_);
  log->headEnd_ = body.size();
  if (Status status = log->writeCopies(body); !status.ok())
    return status;
  if (Status status = log->appendLine("start", log->head_); !status.ok())
    return status;
  return log;
}

Status RunLog::writeCopies(const std::string &body) {
  const std::string document = body + closingPart();
  // The visible copy is written under the hidden name and then renamed.
  for (Copy *copy : {&visible_, &hidden_}) {
    copy->fd = ::open(hiddenPath_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    copy->bodyEnd = body.size();
    if (copy->fd < 0 || !writeAll(copy->fd, document, 0))
      return failure("cannot write the log");
    if (copy == &visible_ && ::rename(hiddenPath_.c_str(), path_.c_str()) != 0)
      return failure("cannot write the log");
  }
  return {};
}

Result<std::unique_ptr<RunLog>> RunLog::resume(const std::string &outDir, const std::string &runName,
                                               uint64_t position) {
  std::unique_ptr<RunLog> log(new RunLog);
  log->runName_ = runName;
  log->path_ = outDir + "/" + runName + ".json";
  log->hiddenPath_ = outDir + "/." + runName + ".json.next";
  const std::string linesPath = outDir + "/" + runName + ".jsonl";
  Result<std::string> text = readFile(linesPath);
  if (!text.ok())
    return text.status();
  if (text->size() < position || position == 0 || (*text)[position - 1] != '\n')
    return Status::failed(format("%s: no line ends at byte %llu, where the checkpoint was made",
                                 linesPath.c_str(), static_cast<unsigned long long>(position)));
  text->resize(position);
  std::string records;
  for (size_t begin = 0; begin < text->size();) {
    const size_t end = text->find('\n', begin);
    Result<Json> line = parseJson(std::string_view(*text).substr(begin, end - begin));
    if (!line.ok() || !line->is_object() || !line->contains("event"))
      return Status::failed(linesPath + ": a line is damaged");
    begin = end + 1;
    const Json event = (*line)["event"];
    line->erase("event");
    if (event == "start")
      log->head_ = std::move(*line);
    else if (event == "iteration")
      records += log->countIteration(*line);
    else if (event == "evaluation")
      log->countEvaluation(*line);
    else if (event == "checkpoint")
      log->countCheckpoint(*line);
  }
  if (!log->head_.is_object())
    return Status::failed(linesPath + ": it does not begin with the start of a run");
  log->linesFd_ = ::open(linesPath.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (log->linesFd_ < 0 || ::ftruncate(log->linesFd_, static_cast<off_t>(position)) != 0)
    return log->failure("cannot go on with the log's lines");
  log->position_ = position;
  const std::string opening = openingPart(log->head_);
  log->headEnd_ = opening.size();
  if (Status status = log->writeCopies(opening + records); !status.ok())
    return status;
  return log;
}

Result<std::unique_ptr<RunLog>> RunLog::createNowhere() {
  std::unique_ptr<RunLog> log(new RunLog);
  log->nowhere_ = true;
  return log;
}

RunLog::~RunLog() {
  for (int fd : {visible_.fd, hidden_.fd, linesFd_})
    if (fd >= 0)
      ::close(fd);
  if (hidden_.fd >= 0)
    ::unlink(hiddenPath_.c_str());
}

Json RunLog::summary() const {
  Json out = Json::object();
  out["total_iterations"] = iterations_;
  out["total_skipped"] = skipped_;
  out["final_iter"] = lastIteration_;
  out["final_train_loss"] = lastLoss_;
  out["best_val_loss"] = bestValLoss_;
  out["best_val_iter"] = bestValIteration_;
  out["avg_time_ms"] = iterations_ ? Json(timeSum_ / static_cast<double>(iterations_)) : Json();
  out["avg_mfu"] = mfuCount_ ? Json(mfuSum_ / static_cast<double>(mfuCount_)) : Json();
  out["total_eval_steps"] = evaluationCount_;
  out["total_checkpoints"] = checkpointCount_;
  return out;
}

std::string RunLog::closingPart() const {
  return "\n  ],\n  \"eval_steps\": [" + evaluations_ + "\n  ],\n  \"checkpoints\": [" + checkpoints_ +
         "\n  ],\n  \"end_time\": " + dump(endTime_) + ",\n  \"summary\": " + dump(summary()) + "\n}\n";
}

Status RunLog::commit(const std::string &text) {
  if (nowhere_)
    return {};
  visible_.pending += text;
  hidden_.pending += text;
  if (exchange_ && isReadByOthers(hidden_.fd))
    if (Status status = replaceHidden(); !status.ok())
      return status;
  Copy &target = exchange_ ? hidden_ : visible_;
  std::string update = target.pending + closingPart();
  if (!writeAll(target.fd, update, target.bodyEnd) ||
      ::ftruncate(target.fd, static_cast<off_t>(target.bodyEnd + update.size())) != 0)
    return failure("cannot write the log");
  target.bodyEnd += target.pending.size();
  target.pending.clear();
  if (!exchange_)
    return {};
  if (::syscall(SYS_renameat2, AT_FDCWD, hiddenPath_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) !=
      0) {
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
      return failure("cannot exchange the copies of the log");
    exchange_ = false;
    return commit("");
  }
  std::swap(visible_, hidden_);
  return {};
}

Status RunLog::replaceHidden() {
  ::close(hidden_.fd);
  ::unlink(hiddenPath_.c_str());
  hidden_ = visible_;
  hidden_.fd = ::open(hiddenPath_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (hidden_.fd < 0 || !copyBytes(visible_.fd, 0, visible_.bodyEnd, hidden_.fd, 0))
    return failure("cannot write the log");
  return {};
}

Status RunLog::appendLine(const char *event, const Json &record) {
  if (nowhere_)
    return {};
  Json line = {{"event", event}};
  line.update(record);
  std::string text = dump(line) + "\n";
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t put = ::write(linesFd_, rest.data(), rest.size());
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return failure("cannot write the log's lines");
    rest.remove_prefix(static_cast<size_t>(put));
  }
  position_ += text.size();
  return {};
}

std::string RunLog::countIteration(const Json &record) {
  std::string text = (iterations_ ? ",\n    " : "\n    ") + dump(record);
  ++iterations_;
  skipped_ += record.contains("skipped") && !record["skipped"].is_null();
  timeSum_ += record.value("time_ms", 0.0);
  if (auto mfu = record.find("mfu"); mfu != record.end() && mfu->is_object() &&
                                     mfu->contains("mfu_percent") && (*mfu)["mfu_percent"].is_number()) {
    mfuSum_ += (*mfu)["mfu_percent"].get<double>();
    ++mfuCount_;
  }
  lastIteration_ = record.value("iter", Json());
  lastLoss_ = record.value("loss", Json());
  return text;
}

void RunLog::countEvaluation(const Json &record) {
  evaluations_ += (evaluationCount_ ? ",\n    " : "\n    ") + dump(record);
  ++evaluationCount_;
  const Json loss = record.value("val_loss", Json());
  if (loss.is_number() && (bestValLoss_.is_null() || loss < bestValLoss_)) {
    bestValLoss_ = loss;
    bestValIteration_ = record.value("iter", Json());
  }
}

void RunLog::countCheckpoint(const Json &record) {
  checkpoints_ += (checkpointCount_ ? ",\n    " : "\n    ") + dump(record);
  ++checkpointCount_;
}

Status RunLog::addIteration(const Json &record) {
  const std::string text = countIteration(record);
  Status status = appendLine("iteration", record);
  return status.ok() ? commit(text) : status;
}

Status RunLog::addEvaluation(const Json &record) {
  countEvaluation(record);
  Status status = appendLine("evaluation", record);
  return status.ok() ? commit("") : status;
}

Status RunLog::addCheckpoint(const Json &record) {
  countCheckpoint(record);
  Status status = appendLine("checkpoint", record);
  return status.ok() ? commit("") : status;
}

Status RunLog::addResume(const Json &record) { return appendLine("resume", record); }

Status RunLog::addSample(const Json &record) { return appendLine("sample", record); }

Status RunLog::rewrite() {
  if (nowhere_)
    return {};
  const Copy &source = visible_;
  const std::string opening = openingPart(head_);
  int fd = ::open(hiddenPath_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return failure("cannot write the log");
  const uint64_t to = opening.size() + source.bodyEnd - headEnd_;
  bool written =
      writeAll(fd, opening, 0) && copyBytes(source.fd, headEnd_, source.bodyEnd, fd, opening.size());
  // What the visible copy lacks follows what it has.
  const std::string rest = source.pending + closingPart();
  written = written && writeAll(fd, rest, to) && ::rename(hiddenPath_.c_str(), path_.c_str()) == 0;
  if (!written) {
    Status status = failure("cannot write the log");
    ::close(fd);
    return status;
  }
  ::close(visible_.fd);
  visible_ = {fd, to + source.pending.size(), ""};
  headEnd_ = opening.size();
  // There is no second copy from now on.
  ::close(hidden_.fd);
  hidden_ = {};
  exchange_ = false;
  return {};
}

Status RunLog::finish(const Json &ending) {
  endTime_ = timestamp(std::time(nullptr));
  head_["metadata"].update(ending);
  Json end = {{"metadata", ending}, {"end_time", endTime_}, {"summary", summary()}};
  if (Status status = appendLine("end", end); !status.ok())
    return status;
  return rewrite();
}

} // namespace txc
