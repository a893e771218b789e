//===- ReadYaml.cpp - YAML text to a tree with places ---------------------===//
//
// yaml-cpp reports events, not nodes, so that aliases are seen (and refused)
// rather than expanded, repeated keys are kept, and nesting is bounded before
// its parser goes deeper: each level is announced first and we stop it there.
//
// The only file of the compiler with exceptions: yaml-cpp throws, and so does
// the handler, to leave the parser. Nothing leaves readYaml.
//
//===----------------------------------------------------------------------===//

#include "ReadYaml.h"

#include <exception>
#include <sstream>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace txc::import {
namespace {

constexpr size_t maxDepth = 64;

YamlPlace placeOf(const YAML::Mark &mark) {
  if (mark.is_null())
    return {};
  return {static_cast<unsigned>(mark.line + 1), static_cast<unsigned>(mark.column + 1)};
}

// Thrown by the handler; caught in readYaml.
struct Refusal {
  YamlFailure failure;
};

class TreeBuilder : public YAML::EventHandler {
public:
  explicit TreeBuilder(YamlNode &root) : root(root) {}

  void OnDocumentStart(const YAML::Mark &mark) override {
    if (++documents > 1)
      refuse(mark, "found a second document; expected one per file");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark &mark, YAML::anchor_t anchor) override {
    checkProperties(mark, "", anchor);
    add(mark, YamlNode::Nothing);
  }
  void OnAlias(const YAML::Mark &mark, YAML::anchor_t) override {
    refuse(mark, "found an alias; specs have none: write the value out, or inherit from a file with base:");
  }
  void OnScalar(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                const std::string &value) override {
    checkProperties(mark, tag, anchor);
    YamlNode &node = add(mark, YamlNode::Scalar);
    node.text = value;
    node.quoted = tag == "!";
  }
  void OnSequenceStart(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    checkProperties(mark, tag, anchor);
    enter(mark, YamlNode::Sequence);
  }
  void OnSequenceEnd() override { open.pop_back(); }
  void OnMapStart(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    checkProperties(mark, tag, anchor);
    enter(mark, YamlNode::Map);
  }
  void OnMapEnd() override { open.pop_back(); }

private:
  [[noreturn]] static void refuse(const YAML::Mark &mark, std::string message) {
    throw Refusal{{placeOf(mark), std::move(message)}};
  }
  // yaml-cpp gives plain scalars the tag "?" and quoted ones "!".
  static void checkProperties(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor) {
    if (anchor != 0)
      refuse(mark,
             "found an anchor; specs have none: write the value out, or inherit from a file with base:");
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(mark, "found a tag; expected a plain value");
  }
  YamlNode &add(const YAML::Mark &mark, YamlNode::Kind kind) {
    YamlNode *node = &root;
    if (!open.empty()) {
      open.back()->children.emplace_back();
      node = &open.back()->children.back();
    }
    node->kind = kind;
    node->place = placeOf(mark);
    return *node;
  }
  void enter(const YAML::Mark &mark, YamlNode::Kind kind) {
    if (open.size() == maxDepth)
      refuse(mark, "found more than 64 levels of nesting; a spec has two");
    // A node's address is stable while it is open: its parent grows only after
    // it is closed.
    open.push_back(&add(mark, kind));
  }

  YamlNode &root;
  std::vector<YamlNode *> open;
  unsigned documents = 0;
};

} // namespace

bool readYaml(llvm::StringRef text, YamlNode &root, YamlFailure &failure) {
  try {
    std::istringstream stream(text.str());
    YAML::Parser parser(stream);
    TreeBuilder builder(root);
    while (parser.HandleNextDocument(builder)) {
    }
    return true;
  } catch (const Refusal &refusal) {
    failure = refusal.failure;
  } catch (const YAML::Exception &error) {
    failure = {placeOf(error.mark), "found text that is not YAML: " + error.msg};
  } catch (const std::exception &error) {
    failure = {{}, std::string("found text that is not YAML: ") + error.what()};
  }
  return false;
}

} // namespace txc::import
